//! The one place that draws random numbers.

/// 128 random bits from the operating system.
///
/// # Panics
/// If the operating system has no randomness to give: nothing safe can be done without it.
#[must_use]
pub fn bits() -> u128 {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

/// Fills `bytes` with randomness from the operating system.
///
/// # Panics
/// As [`bits`] does.
#[expect(clippy::expect_used, reason = "without randomness no key or id may be made")]
pub fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random numbers");
}
