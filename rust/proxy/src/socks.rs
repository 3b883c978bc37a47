//! The three messages of a SOCKS5 client (RFC 1928, RFC 1929), read from their first byte. Each reader answers
//! `None` until the message is whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ztna_model::{Host, Port};

use crate::destination::{Destination, Form, host_from};

pub(crate) const VERSION: u8 = 5;
/// *Choose username and password*: the only method there is.
pub(crate) const METHOD_PASSWORD: [u8; 2] = [VERSION, PASSWORD];
/// *No acceptable method.*
pub(crate) const METHOD_NONE: [u8; 2] = [VERSION, 0xff];
/// *The password is right.*
pub(crate) const PASSWORD_RIGHT: [u8; 2] = [1, 0];
/// *The password is wrong.*
pub(crate) const PASSWORD_WRONG: [u8; 2] = [1, 1];

/// The reply code for success.
pub(crate) const CONNECTED: u8 = 0;
/// The reply code for a request that makes no sense.
pub(crate) const FAILURE: u8 = 1;
/// The reply code for what does not exist.
pub(crate) const HOST_UNREACHABLE: u8 = 4;
const COMMAND_NOT_SUPPORTED: u8 = 7;
const ADDRESS_TYPE_NOT_SUPPORTED: u8 = 8;

const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The reply to a request (RFC 1928, 6). The bound address is always `0.0.0.0:0`: there is no other to tell.
pub(crate) const fn reply(code: u8) -> [u8; 10] {
    [VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

/// Whether a whole greeting offers a password.
pub(crate) fn offers_password(greeting: &[u8]) -> Option<bool> {
    let [_version, count, methods @ ..] = greeting else { return None };
    let methods = methods.get(..usize::from(*count))?;
    Some(methods.contains(&PASSWORD))
}

/// The password in whole credentials, or `Some(None)` if they are of another version. The user name says nothing.
pub(crate) fn password(credentials: &[u8]) -> Option<Option<&[u8]>> {
    let (version, rest) = credentials.split_first()?;
    if *version != 1 {
        return Some(None);
    }
    let (_user, rest) = counted(rest)?;
    let (password, _) = counted(rest)?;
    Some(Some(password))
}

/// The destination in a whole request, or the code to refuse it with.
pub(crate) fn destination(request: &[u8]) -> Option<Result<Destination, u8>> {
    let (head, rest) = request.split_first_chunk()?;
    let (host, port) = match *head {
        [VERSION, CONNECT, 0, IPV4] => fixed(rest, |bytes| Ipv4Addr::from(bytes).into())?,
        [VERSION, CONNECT, 0, IPV6] => fixed(rest, |bytes| Ipv6Addr::from(bytes).into())?,
        [VERSION, CONNECT, 0, NAME] => {
            let (name, rest) = counted(rest)?;
            (std::str::from_utf8(name).ok().and_then(host_from), rest)
        }
        [VERSION, CONNECT, 0, _] => return Some(Err(ADDRESS_TYPE_NOT_SUPPORTED)),
        [VERSION, CONNECT, ..] => return Some(Err(FAILURE)),
        [VERSION, ..] => return Some(Err(COMMAND_NOT_SUPPORTED)),
        [_, ..] => return Some(Err(FAILURE)),
    };
    let port = Port::new(u16::from_be_bytes(*port.first_chunk()?));
    Some(destination_of(host, port))
}

/// A name that nothing can have is answered like one that nothing has.
fn destination_of(host: Option<Host>, port: Option<Port>) -> Result<Destination, u8> {
    let port = port.ok_or(FAILURE)?;
    let host = host.ok_or(HOST_UNREACHABLE)?;
    Ok(Destination { host, port, form: Form::Socks })
}

/// A field that begins with its length in one byte, and what follows it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*count))
}

type HostAndRest<'a> = (Option<Host>, &'a [u8]);

fn fixed<const N: usize>(bytes: &[u8], address: impl Fn([u8; N]) -> IpAddr) -> Option<HostAndRest<'_>> {
    let (address_bytes, rest) = bytes.split_first_chunk::<N>()?;
    Some((Some(Host::Address(address(*address_bytes))), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &[u8], expected: Result<&str, u8>) {
        let found = destination(request).unwrap().map(|found| found.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{request:?}");
        if expected.is_ok() {
            assert_eq!(destination(&request[..request.len() - 1]), None);
        }
    }

    fn named(name: &[u8], port: u16) -> Vec<u8> {
        let mut request = vec![5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
        request.extend(name);
        request.extend(port.to_be_bytes());
        request
    }

    #[test]
    fn greetings() {
        let rows: [(&[u8], Option<bool>); 8] = [
            (&[5], None),
            (&[5, 1], None),
            (&[5, 2, 0], None),
            (&[5, 0], Some(false)),
            (&[5, 1, 0], Some(false)),
            (&[5, 1, 2], Some(true)),
            (&[5, 3, 0, 1, 2], Some(true)),
            (&[5, 2, 0, 0x80], Some(false)),
        ];
        for (bytes, expected) in rows {
            assert_eq!(offers_password(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn credentials() {
        assert_eq!(password(b""), None);
        assert_eq!(password(b"\x01\x03ana\x02p"), None);
        assert_eq!(password(b"\x01\x03ana\x02pw"), Some(Some(&b"pw"[..])));
        assert_eq!(password(b"\x01\x00\x00"), Some(Some(&b""[..])));
        assert_eq!(password(b"\x05"), Some(None));
    }

    #[test]
    fn requests() {
        check(&named(b"Wiki.DEMO.", 80), Ok("wiki.demo:80"));
        check(&named(b"10.0.0.1", 80), Ok("10.0.0.1:80"));
        check(&named(b"2001:db8::1", 80), Ok("[2001:db8::1]:80"));
        check(&[5, 1, 0, 1, 10, 0, 0, 1, 0, 80], Ok("10.0.0.1:80"));
        check(&[5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187], Ok("[::1]:443"));
        check(&named(b"wiki.demo", 0), Err(FAILURE));
        check(&[5, 2, 0, 1], Err(COMMAND_NOT_SUPPORTED));
        check(&[5, 3, 0, 1], Err(COMMAND_NOT_SUPPORTED));
        check(&[5, 1, 0, 2], Err(ADDRESS_TYPE_NOT_SUPPORTED));
        check(&[5, 1, 1, 1], Err(FAILURE));
        check(&[4, 1, 0, 1], Err(FAILURE));
    }

    #[test]
    fn e03_a_name_that_nothing_can_have_is_answered_like_one_that_nothing_has() {
        let names: [&[u8]; 9] = [
            b"",
            b"127.1",
            b"0177.0.0.1",
            b"0x7f000001",
            b"2130706433",
            b"wiki demo",
            b"wiki.demo\0.example",
            b"b\xc3\xbccher.demo",
            b"\xff",
        ];
        for name in names {
            check(&named(name, 80), Err(HOST_UNREACHABLE));
        }
    }
}
