//! Who asks: from the key in a request to its owner.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};
use subtle::ConstantTimeEq as _;

use super::Api;
use super::asked::Asked;
use super::error::ApiError;
use super::keys::OpenKey;
use super::limits::TooMany;
use crate::ids::UserId;
use crate::runtime::{CreateError, StoreFailure};

/// Why a key opens nothing.
#[derive(Debug)]
pub(super) enum KeyError {
    /// It is nobody's, or no longer valid.
    Unknown,
    /// Too many wrong keys from there, or too many requests with it.
    TooMany(TooMany),
    /// The process is going down.
    Draining,
    /// The store failed.
    Store(StoreFailure),
}

/// What a valid key has opened. What lasts longer than a request ends with the key.
pub(super) struct Opened {
    pub(super) owner: UserId,
    pub(super) key: OpenKey,
}

/// Opens what is the key's. Every way in leads through here, so that all of them share the limits.
pub(super) async fn open(api: &Api, key: &str, from: Option<IpAddr>) -> Result<Opened, KeyError> {
    let revoked = api.revocations.listen();
    let holder = api.gateway.holder_of(key).await.map_err(|error| {
        // The last thing that a drain does is to close the store.
        if api.gateway.is_ready() { KeyError::Store(error.into()) } else { KeyError::Draining }
    })?;
    let Some(holder) = holder else {
        if let Some(from) = from {
            api.limits.wrong_key(from).map_err(KeyError::TooMany)?;
        }
        return Err(KeyError::Unknown);
    };
    api.limits.request(key).map_err(KeyError::TooMany)?;
    let key = OpenKey::new(holder.key, holder.expires_at_ms, revoked);
    Ok(Opened { owner: holder.owner, key })
}

/// Where a request comes from, if it came over the network.
pub(super) fn address_of(extensions: &Extensions) -> Option<IpAddr> {
    Asked::of(extensions)?.from
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown => Self::unauthorized(),
            KeyError::TooMany(too_many) => too_many.into(),
            KeyError::Draining => CreateError::Draining.into(),
            KeyError::Store(error) => Self::store(&error),
        }
    }
}

impl FromRequestParts<Api> for Opened {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let key = key_of(&parts.headers).ok_or_else(ApiError::unauthorized)?;
        Ok(open(api, key, address_of(&parts.extensions)).await?)
    }
}

/// The owner of the key that came with the request; without a valid one, 401.
pub(super) struct Owner(pub(super) UserId);

impl FromRequestParts<Api> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        Ok(Self(Opened::from_request_parts(parts, api).await?.owner))
    }
}

/// Who asks about users and keys: the operator, or a user.
pub(super) enum Asker {
    /// Whoever knows the admin token.
    Admin,
    /// The owner of a key.
    User(UserId),
}

impl Asker {
    /// Whether this one may see and change what belongs to `user`.
    pub(super) fn may_act_for(&self, user: &UserId) -> bool {
        match self {
            Self::Admin => true,
            Self::User(own) => own == user,
        }
    }
}

impl FromRequestParts<Api> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let given = bearer_of(&parts.headers);
        let admin = api.config.admin_token.as_ref();
        if let (Some(given), Some(admin)) = (given, admin)
            && bool::from(given.as_bytes().ct_eq(admin.expose().as_bytes()))
        {
            return Ok(Self::Admin);
        }
        let Owner(user) = Owner::from_request_parts(parts, api).await?;
        Ok(Self::User(user))
    }
}

/// The key in `X-API-Key`, or else in `Authorization: Bearer`.
pub(super) fn key_of(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    own.map(str::trim).filter(|key| !key.is_empty()).or_else(|| bearer_of(headers))
}

/// The token in `Authorization: Bearer` (RFC 6750, section 2.1).
pub(super) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn a_key_is_taken_from_either_header() {
        assert_eq!(key_of(&headers(&[("x-api-key", "ak_1")])), Some("ak_1"));
        assert_eq!(key_of(&headers(&[("authorization", "Bearer ak_1")])), Some("ak_1"));
        assert_eq!(key_of(&headers(&[("authorization", "bearer  ak_1 ")])), Some("ak_1"));
        let both = headers(&[("x-api-key", "ak_1"), ("authorization", "Bearer ak_2")]);
        assert_eq!(key_of(&both), Some("ak_1"));
    }

    #[test]
    fn what_is_no_key_is_none() {
        assert_eq!(key_of(&headers(&[])), None);
        assert_eq!(key_of(&headers(&[("x-api-key", " ")])), None);
        assert_eq!(key_of(&headers(&[("authorization", "Basic YTpi")])), None);
        assert_eq!(key_of(&headers(&[("authorization", "Bearer ")])), None);
    }
}
