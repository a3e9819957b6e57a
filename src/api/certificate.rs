//! The certificate that HTTPS shows: from two files, and taken anew when these change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

use crate::sys::tasks::{self, Task};
use crate::sys::tls;

/// Where a certificate is, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate in PEM, and behind it those that lead to a known authority.
    pub certificate: PathBuf,
    /// Its private key in PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why two files make no HTTPS.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The system does not give a file.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// There is nothing in the file of what should be in it.
    #[error("{} holds no {what} in PEM: {why}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// Where reading it ended.
        why: pem::Error,
    },
    /// The key is another certificate's, or one of them is of a kind that TLS does not have.
    #[error("{} and {} make no HTTPS: {why}", files.certificate.display(), files.key.display())]
    Unfit {
        /// The two.
        files: TlsFiles,
        /// What is wrong with them.
        why: rustls::Error,
    },
}

/// Speaks TLS with those who connect. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    pub(super) acceptor: TlsAcceptor,
    _keeper: Arc<Task>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files, and from here on looks at them now and then: what they hold is shown to
    /// those who connect after that. A pair that does not fit changes nothing.
    pub async fn open(files: TlsFiles) -> Result<Self, CertificateError> {
        tls::choose_cryptography();
        let contents = Contents::read(&files).await?;
        let (shown, resolver) = watch::channel(contents.certified(&files)?);
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_cert_resolver(Arc::new(Shown(resolver)));
        // WebSockets, and so Socket.IO, begin as HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let judged = Some(contents.print());
        let keeper = Keeper { files, shown, judged, seen: judged };
        let keeper = Arc::new(tasks::spawn("certificate", keeper.run()));
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), _keeper: keeper })
    }
}

impl TlsFiles {
    /// Whether HTTPS could be served with these; the certificate itself, as DER.
    pub async fn check(&self) -> Result<CertificateDer<'static>, CertificateError> {
        let certified = Contents::read(self).await?.certified(self)?;
        let own = certified.end_entity_cert().map(|own| own.clone().into_owned());
        own.map_err(|why| CertificateError::Unfit { files: self.clone(), why })
    }
}

/// What everybody is shown who connects.
#[derive(Debug)]
struct Shown(watch::Receiver<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }
}

/// Looks after the files.
struct Keeper {
    files: TlsFiles,
    shown: watch::Sender<Arc<CertifiedKey>>,
    /// What was last taken or found unfit; `None` is what cannot be read.
    judged: Option<Print>,
    /// What the last look has seen.
    seen: Option<Print>,
}

impl Keeper {
    async fn run(mut self) {
        let mut again = tokio::time::interval(LOOK);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            again.tick().await;
            self.look().await;
        }
    }

    /// What is seen twice in a row is judged: two files are seldom written in one instant.
    async fn look(&mut self) {
        let found = Contents::read(&self.files).await;
        let print = found.as_ref().ok().map(Contents::print);
        let is_settled = std::mem::replace(&mut self.seen, print) == print;
        if print == self.judged || !is_settled {
            return;
        }
        self.judged = print;
        match found.and_then(|contents| contents.certified(&self.files)) {
            Ok(certified) => {
                self.shown.send_replace(certified);
                tracing::info!("HTTPS shows the new certificate");
            }
            Err(error) => tracing::error!(%error, "HTTPS goes on with the certificate before"),
        }
    }
}

/// What two files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Tells contents from others.
type Print = [u8; 32];

impl Contents {
    async fn read(files: &TlsFiles) -> Result<Self, CertificateError> {
        let read = async |path: &Path| {
            let unreadable = |why| CertificateError::Unreadable { path: path.to_owned(), why };
            tokio::fs::read(path).await.map_err(unreadable)
        };
        Ok(Self { certificate: read(&files.certificate).await?, key: read(&files.key).await? })
    }

    fn print(&self) -> Print {
        let key = Sha256::digest(&self.key);
        Sha256::new().chain_update(&self.certificate).chain_update(key).finalize().into()
    }

    fn certified(&self, files: &TlsFiles) -> Result<Arc<CertifiedKey>, CertificateError> {
        let not_pem = |path: &Path, what| {
            let path = path.to_owned();
            move |why| CertificateError::NotPem { path, what, why }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.and_then(|chain| {
            if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
        });
        let chain = chain.map_err(not_pem(&files.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(not_pem(&files.key, "private key"))?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider);
        let unfit = |why| CertificateError::Unfit { files: files.clone(), why };
        certified.map(Arc::new).map_err(unfit)
    }
}

/// How often the files are looked at: two small reads.
const LOOK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_new_pair_is_shown_once_it_is_whole() {
        let (folder, mut keeper) = keeper().await;
        let before = shown(&keeper);
        let (certificate, key) = pair();
        std::fs::write(folder.path().join("c.pem"), &certificate).expect("written");
        keeper.look().await;
        std::fs::write(folder.path().join("k.pem"), &key).expect("written");
        keeper.look().await;
        assert_eq!(shown(&keeper), before, "it may still be written");
        keeper.look().await;
        assert_ne!(shown(&keeper), before);
    }

    #[tokio::test]
    async fn a_pair_that_does_not_fit_changes_nothing() {
        let (folder, mut keeper) = keeper().await;
        let before = shown(&keeper);
        for broken in [pair().1.as_str(), "nothing"] {
            std::fs::write(folder.path().join("k.pem"), broken).expect("written");
            for _ in 0..3 {
                keeper.look().await;
            }
            assert_eq!(shown(&keeper), before);
        }
        std::fs::remove_file(folder.path().join("k.pem")).expect("removed");
        keeper.look().await;
        keeper.look().await;
        assert_eq!(shown(&keeper), before);
    }

    #[tokio::test]
    async fn each_wrong_file_is_told_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(&folder);
        let told = async || files.check().await.expect_err("it is wrong").to_string();
        assert!(told().await.contains("c.pem cannot be read"), "{}", told().await);
        let (certificate, key) = pair();
        std::fs::write(&files.certificate, &key).expect("written");
        std::fs::write(&files.key, &certificate).expect("written");
        assert!(told().await.contains("c.pem holds no certificate"), "{}", told().await);
        std::fs::write(&files.certificate, &certificate).expect("written");
        assert!(told().await.contains("k.pem holds no private key"), "{}", told().await);
        std::fs::write(&files.key, pair().1).expect("written");
        assert!(told().await.contains("KeyMismatch"), "{}", told().await);
        std::fs::write(&files.key, key).expect("written");
        files.check().await.expect("they fit");
    }

    async fn keeper() -> (TempDir, Keeper) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(&folder);
        let (certificate, key) = pair();
        std::fs::write(&files.certificate, certificate).expect("written");
        std::fs::write(&files.key, key).expect("written");
        let contents = Contents::read(&files).await.expect("they are there");
        let (shown, _) = watch::channel(contents.certified(&files).expect("they fit"));
        let judged = Some(contents.print());
        (folder, Keeper { files, shown, judged, seen: judged })
    }

    fn shown(keeper: &Keeper) -> Vec<u8> {
        keeper.shown.borrow().cert[0].to_vec()
    }

    fn files(folder: &TempDir) -> TlsFiles {
        TlsFiles { certificate: folder.path().join("c.pem"), key: folder.path().join("k.pem") }
    }

    fn pair() -> (String, String) {
        let made = generate_simple_self_signed(["localhost".to_owned()]);
        let Made { cert, signing_key } = made.expect("a certificate");
        (cert.pem(), signing_key.serialize_pem())
    }
}
