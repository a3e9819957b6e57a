//! The one place that chooses the process's cryptography.

/// Makes ring the cryptography of TLS, unless the process has chosen already.
///
/// Libraries that build a TLS configuration by themselves look for this choice.
pub fn choose_cryptography() {
    // An error means that a choice was made before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
