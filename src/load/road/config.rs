//! What a road does to what travels on it.

use std::time::Duration;

/// What one direction of a road does. The default does nothing at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoadConfig {
    /// Which datagrams do not arrive.
    pub loss: Loss,
    /// How long all are under way at least.
    pub delay: Duration,
    /// How much longer or shorter each is under way.
    pub jitter: Jitter,
    /// Whether what was sent first arrives first all the same, as in a queue.
    pub keeps_order: bool,
    /// Which datagrams go a longer way; the others overtake them, whatever `keeps_order` says.
    pub detour: Detour,
    /// The share of datagrams that arrive twice.
    pub duplicated: f64,
    /// The narrowest place, if there is one.
    pub bottleneck: Option<Bottleneck>,
    /// When nothing passes.
    pub outages: Vec<Outage>,
    /// Whether STUN and DTLS (told by the first byte, RFC 7983) are only delayed, so that the
    /// setting up of a call does not decide a test of its sound.
    pub spares_setup: bool,
}

/// Which datagrams do not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// All arrive.
    #[default]
    None,
    /// Each is lost with the same chance.
    Random {
        /// The share that is lost, 0 to 1.
        share: f64,
    },
    /// Losses come together: a road has good times, when nothing is lost, and bad times, when
    /// everything is (Gilbert, Capacity of a burst-noise channel, 1960).
    Bursts {
        /// The chance that a datagram begins a bad time.
        begin: f64,
        /// The chance that a datagram ends a bad time.
        end: f64,
    },
}

impl Loss {
    /// Bursts of this mean length, which make up this share of all datagrams.
    #[must_use]
    pub fn bursts(share: f64, mean_length: f64) -> Self {
        let end = 1.0 / mean_length.max(1.0);
        let share = share.clamp(0.0, 0.99);
        Self::Bursts { begin: (share * end / (1.0 - share)).min(1.0), end }
    }
}

/// How the time under way varies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Up to this much longer, all equally likely.
    Uniform(Duration),
    /// Longer and shorter around the delay with this deviation, and never below nothing.
    Normal(Duration),
}

/// A longer way that some datagrams go.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Detour {
    /// The share that goes it, 0 to 1.
    pub share: f64,
    /// How much longer it is.
    pub by: Duration,
}

/// A narrow place with a queue before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// How much passes.
    pub bits_per_second: u64,
    /// How long the queue may be; who would wait longer is lost.
    pub queue: Duration,
}

/// A time in which nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When it begins, from the beginning of the road on.
    pub after: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What becomes of what is sent meanwhile.
    pub fate: Fate,
}

/// What becomes of what is sent in an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost, as when a link is cut.
    Lost,
    /// It arrives when the outage is over, all at once, as after a stall of a radio link.
    Held,
}
