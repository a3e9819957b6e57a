//! As much of STUN (RFC 8489) as it takes to know whose a datagram is. Nothing is believed.

/// The name of one question, repeated by its answer (RFC 8489, section 5).
pub(super) type Transaction = [u8; 12];

/// What a datagram is, as far as its owner can be told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A binding request; `ufrag` is the receiver's half of its user name. By one that nominates,
    /// the peer has chosen the way that it came by (RFC 8445, section 8.1.1).
    Request { ufrag: Option<&'a str>, transaction: Transaction, nominates: bool },
    /// A binding answer, good or bad.
    Answer { transaction: Transaction },
    /// Everything else: DTLS, SRTP, keep-alives.
    Other,
}

/// Tells what `datagram` is (RFC 7983, section 7: STUN begins with two zero bits).
pub(super) fn classify(datagram: &[u8]) -> Kind<'_> {
    let Some((header, attributes)) = datagram.split_first_chunk::<HEADER>() else {
        return Kind::Other;
    };
    if header[0] > 3 || header[4..8] != COOKIE {
        return Kind::Other;
    }
    let mut transaction = Transaction::default();
    transaction.copy_from_slice(&header[8..]);
    match u16::from_be_bytes([header[0], header[1]]) {
        REQUEST => Kind::Request {
            ufrag: receiver_ufrag(attributes),
            transaction,
            nominates: self::attributes(attributes).any(|(kind, _)| kind == USE_CANDIDATE),
        },
        SUCCESS | ERROR => Kind::Answer { transaction },
        _ => Kind::Other,
    }
}

/// Whether an answer is a good one: the one who gives it has checked who asked.
pub(super) fn is_success(datagram: &[u8]) -> bool {
    datagram.starts_with(&SUCCESS.to_be_bytes())
}

/// The part of USERNAME before the colon: the ufrag of the one who is asked (RFC 8445, 7.2.2).
fn receiver_ufrag(message: &[u8]) -> Option<&str> {
    let (_, value) = attributes(message).find(|(kind, _)| *kind == USERNAME)?;
    std::str::from_utf8(value).ok()?.split_once(':').map(|(ufrag, _)| ufrag)
}

/// What stands behind a header, by kind, as far as it makes sense.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = after.get(..length)?;
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_be_bytes([head[0], head[1]]), value))
    })
}

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;
const USERNAME: u16 = 0x0006;
const USE_CANDIDATE: u16 = 0x0025;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_one_it_asks() {
        let request = request("ours:theirs", [7; 12]);
        let (ufrag, transaction) = (Some("ours"), [7; 12]);
        assert_eq!(classify(&request), Kind::Request { ufrag, transaction, nominates: false });
        let nominating = nominating("ours:theirs", [7; 12]);
        assert_eq!(classify(&nominating), Kind::Request { ufrag, transaction, nominates: true });
    }

    #[test]
    fn an_answer_repeats_the_transaction() {
        assert_eq!(classify(&answer([9; 12])), Kind::Answer { transaction: [9; 12] });
    }

    #[test]
    fn nonsense_is_nobodys_and_never_panics() {
        let request = request("ours:theirs", [7; 12]);
        for length in 0..request.len() {
            let _ = classify(&request[..length]);
        }
        assert_eq!(classify(&[]), Kind::Other);
        assert_eq!(classify(&[0x80; 100]), Kind::Other);
        let mut lying = request.clone();
        lying[22..24].copy_from_slice(&u16::MAX.to_be_bytes());
        let wanted = Kind::Request { ufrag: None, transaction: [7; 12], nominates: false };
        assert_eq!(classify(&lying), wanted);
    }

    pub(in crate::rooms::mux) fn request(username: &str, transaction: Transaction) -> Vec<u8> {
        let mut value = username.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(4), 0);
        let mut bytes = message(REQUEST, transaction);
        bytes.extend(USERNAME.to_be_bytes());
        bytes.extend(u16::try_from(username.len()).unwrap().to_be_bytes());
        bytes.extend(value);
        bytes
    }

    pub(in crate::rooms::mux) fn nominating(username: &str, transaction: Transaction) -> Vec<u8> {
        let mut bytes = request(username, transaction);
        bytes.extend(USE_CANDIDATE.to_be_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    pub(in crate::rooms::mux) fn answer(transaction: Transaction) -> Vec<u8> {
        message(SUCCESS, transaction)
    }

    fn message(kind: u16, transaction: Transaction) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &[0, 0], &COOKIE, &transaction].concat()
    }
}
