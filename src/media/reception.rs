//! What becomes of our packets on their way to those who listen, by what they report.

use std::collections::BTreeMap;

use crate::ids::ParticipantId;

/// The loss to prepare for, out of many listeners' reports: that of the one who loses most.
///
/// A report counts packets of about a second, so that one loss is two percent. It rises with what
/// is reported and falls slowly, as losses come in groups: FEC for a line that has just been bad
/// costs little, and to miss the next group is heard.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    /// By listener, in parts of a percent.
    losses: BTreeMap<ParticipantId, u32>,
    told: Option<u8>,
}

impl Reception {
    /// A listener has lost so many percent of the packets since its last report. Gives what to
    /// prepare for from here on, in percent, where that changes.
    pub fn report(&mut self, listener: &ParticipantId, lost_percent: u8) -> Option<u8> {
        let lost = u32::from(lost_percent.min(100)) * PARTS;
        match self.losses.get_mut(listener) {
            // Nothing is known yet: the first report is all there is to go by.
            None => {
                self.losses.insert(listener.clone(), lost);
            }
            Some(known) if lost > *known => *known += (lost - *known).div_ceil(RISE),
            Some(known) => *known -= (*known - lost).div_ceil(FALL),
        }
        self.tell()
    }

    /// A listener has left.
    pub fn forget(&mut self, listener: &ParticipantId) -> Option<u8> {
        self.losses.remove(listener)?;
        self.tell()
    }

    fn tell(&mut self) -> Option<u8> {
        let worst = self.losses.values().max()?.div_ceil(PARTS);
        let worst = u8::try_from(worst).unwrap_or(100);
        (self.told.replace(worst) != Some(worst)).then_some(worst)
    }
}

/// Parts of a percent that are kept: enough that a fall by an eighth reaches nought.
const PARTS: u32 = 16;

/// Half of what is reported more is believed at once, an eighth of what is reported less.
const RISE: u32 = 2;
const FALL: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_report_is_believed() {
        let mut reception = Reception::default();
        assert_eq!(reception.report(&id("ann"), 7), Some(7));
        assert_eq!(reception.report(&id("ann"), 7), None, "nothing has changed");
    }

    #[test]
    fn loss_is_prepared_for_soon_and_forgotten_slowly() {
        let mut reception = Reception::default();
        let mut told = vec![reception.report(&id("ann"), 0)];
        told.extend((0..3).map(|_| reception.report(&id("ann"), 20)));
        assert_eq!(told, [Some(0), Some(10), Some(15), Some(18)]);
        let falling: Vec<_> = (0..60).filter_map(|_| reception.report(&id("ann"), 0)).collect();
        assert!(falling.windows(2).all(|pair| pair[1] < pair[0]), "{falling:?}");
        assert_eq!((falling[0], falling.last()), (16, Some(&0)));
    }

    #[test]
    fn the_listener_who_loses_most_decides_until_they_leave() {
        let mut reception = Reception::default();
        reception.report(&id("ann"), 2);
        assert_eq!(reception.report(&id("ben"), 30), Some(30));
        assert_eq!(reception.report(&id("ann"), 1), None);
        assert_eq!(reception.forget(&id("ben")), Some(2));
        assert_eq!(reception.forget(&id("ben")), None);
        assert_eq!(reception.forget(&id("ann")), None, "nobody is left to prepare for");
    }

    #[test]
    fn nonsense_is_no_more_than_all() {
        assert_eq!(Reception::default().report(&id("eve"), 255), Some(100));
    }

    fn id(name: &str) -> ParticipantId {
        ParticipantId::new(name)
    }
}
