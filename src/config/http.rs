//! How HTTP is spoken, and with whom.

use std::path::PathBuf;

use ipnet::IpNet;

use super::parse;
use super::reader::Reader;

/// How HTTP is spoken at `listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// What makes it HTTPS.
    pub tls: Option<TlsConfig>,
    /// Networks whose proxies are believed when they say whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
}

/// The files of HTTPS, in PEM. Whether they are any good is found out at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl HttpConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let trusted = reader.take("http.trusted_proxies", parse::networks);
        Self { tls: tls(reader), trusted_proxies: trusted.unwrap_or_default() }
    }

    /// What URLs of the gateway itself begin with.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// One file is of use only with the other.
fn tls(reader: &mut Reader<'_>) -> Option<TlsConfig> {
    let files = ["tls.certificate", "tls.key"];
    let [certificate, key] = files.map(|file| reader.take(file, |path| Ok(PathBuf::from(path))));
    if certificate.is_some() != key.is_some() {
        let missing = if key.is_none() { "tls.key" } else { "tls.certificate" };
        reader.mistake(missing, "must be given: a certificate and its key belong together");
    }
    Some(TlsConfig { certificate: certificate?, key: key? })
}
