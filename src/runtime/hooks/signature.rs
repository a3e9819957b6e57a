//! How a delivery is signed: HMAC-SHA256 (RFC 2104) over the time and the body.

use std::fmt::Write as _;

use ring::hmac;

use crate::privacy::Secret;

/// The value of the header `Callbridge-Signature`: `t=UNIX,v1=HEX`, where `v1` signs `t`, a dot
/// and the body. The key is the secret as its owner was told it, prefix included.
pub(super) fn signature(secret: &Secret, unix_seconds: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(unix_seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body.as_bytes());
    let mut signed = format!("t={unix_seconds},v1=");
    for byte in context.sign().as_ref() {
        // Writing to a string does not fail.
        let _ = write!(signed, "{byte:02x}");
    }
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value was computed with Python's `hmac` and, apart from it, with OpenSSL.
    #[test]
    fn a_signature_is_the_hmac_of_time_dot_body() {
        let signed = signature(&Secret::new("whsec_test"), 1_700_000_000, r#"{"a":1}"#);
        assert_eq!(signed, SIGNED);
    }

    #[test]
    fn another_time_body_or_secret_gives_another_signature() {
        let secret = Secret::new("whsec_test");
        let others = [
            signature(&secret, 1_700_000_001, r#"{"a":1}"#),
            signature(&secret, 1_700_000_000, r#"{"a":2}"#),
            signature(&Secret::new("whsec_tesu"), 1_700_000_000, r#"{"a":1}"#),
        ];
        assert!(others.iter().all(|other| other[15..] != SIGNED[15..]), "{others:?}");
    }

    const SIGNED: &str = concat!(
        "t=1700000000,v1=",
        "38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789",
    );
}
