//! The options of a message, out of all the places where they may be (RFC 2132 section 9.3, RFC 3396).
//!
//! The walk is our own: `dhcproto` knows no option overload, joins the pieces of a long option only where
//! they are neighbours, and its decoder is not safe with every length of every option. It gets the options
//! that the client understands, in order and with their pieces together, and makes values of them.

use dhcproto::v4::borrowed::DhcpOptionIterator;
use dhcproto::v4::{DhcpOptions, OptionCode};

/// Where the fields begin (RFC 2131 section 2).
const SNAME: usize = 44;
const FILE: usize = 108;
pub(super) const COOKIE: usize = 236;
pub(super) const OPTIONS: usize = 240;

const PAD: u8 = 0;
const OVERLOAD: u8 = 52;
const END: u8 = 255;

/// What is read of a search list at most: compressed, each two bytes of it could be a name of 255.
const MAX_SEARCH: usize = 512;

/// The options the client understands. None of them makes `dhcproto`'s decoder compute below zero.
const UNDERSTOOD: [OptionCode; 13] = [
    OptionCode::SubnetMask,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
    OptionCode::AddressLeaseTime,
    OptionCode::MessageType,
    OptionCode::ServerIdentifier,
    OptionCode::Renewal,
    OptionCode::Rebinding,
    OptionCode::ClientIdentifier,
    OptionCode::DomainSearch,
    OptionCode::ClasslessStaticRoute,
];

/// An option, or a piece of one.
type Piece<'a> = (u8, &'a [u8]);

/// The options that the client understands, each whole; `None` if a field of options does not end, or an
/// option reaches beyond its field. An option whose value cannot be read is left out.
pub(super) fn gather(message: &[u8]) -> Option<DhcpOptions> {
    let mut pieces = Vec::new();
    walk(message.get(OPTIONS..)?, &mut pieces)?;
    // RFC 3396 section 5: first the options field, then file, then sname.
    if let Some((_, value)) = pieces.iter().find(|(code, _)| *code == OVERLOAD) {
        let [fields @ 1..=3] = **value else { return None };
        if fields & 1 != 0 {
            walk(&message[FILE..COOKIE], &mut pieces)?;
        }
        if fields & 2 != 0 {
            walk(&message[SNAME..FILE], &mut pieces)?;
        }
    }
    pieces.retain(|(code, _)| UNDERSTOOD.contains(&OptionCode::from(*code)));
    // RFC 3396 section 7: pieces of one option are joined in the order they came in, wherever they were.
    pieces.sort_by_key(|(code, _)| *code);
    Some(values(&pieces))
}

/// Takes the options of one field. The work is bounded by its length.
fn walk<'a>(mut field: &'a [u8], pieces: &mut Vec<Piece<'a>>) -> Option<()> {
    loop {
        field = match field {
            [PAD, rest @ ..] => rest,
            // RFC 2131 section 4.1: the last option is always END. What follows is padding, whatever it is.
            [END, ..] => return Some(()),
            [code, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                pieces.push((*code, value));
                rest
            }
            _ => return None,
        };
    }
}

fn values(pieces: &[Piece<'_>]) -> DhcpOptions {
    let mut bytes = Vec::new();
    let mut search_left = MAX_SEARCH;
    for &(code, mut value) in pieces {
        if OptionCode::from(code) == OptionCode::DomainSearch {
            value = &value[..value.len().min(search_left)];
            search_left -= value.len();
        }
        bytes.extend([code, value.len() as u8]);
        bytes.extend_from_slice(value);
    }
    DhcpOptionIterator::new(&bytes).filter_map(|option| option.into_option().ok()).collect()
}
