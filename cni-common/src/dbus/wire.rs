//! Messages of D-Bus: the call of a method, and what may come back (D-Bus Specification, "Message Format").

/// The part of a message that tells how long the rest is.
pub(super) const FIXED: usize = 16;

/// `METHOD_CALL`, `METHOD_RETURN` and `ERROR`.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
/// `NO_AUTO_START`: a service that does not run is not started by us.
const NO_AUTO_START: u8 = 2;
/// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method of a service.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    /// The service's name on the bus.
    pub service: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub name: &'a str,
}

/// What a method answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, or what we do not ask for.
    Nothing,
    /// A string.
    Text(String),
    /// A boolean.
    Truth(bool),
    /// It refuses.
    Error {
        /// The error's name.
        name: String,
        /// What it says.
        text: String,
    },
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        while !self.0.len().is_multiple_of(to) {
            self.0.push(0);
        }
    }

    fn number(&mut self, value: usize) {
        self.pad(4);
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn field(&mut self, code: u8, kind: &str, text: &str) {
        self.pad(8);
        self.0.push(code);
        self.signature(kind);
        if kind == "g" {
            self.signature(text);
        } else {
            self.text(text);
        }
    }
}

/// The call of a method with strings.
pub(super) fn call(serial: u32, method: &Method<'_>, arguments: &[&str]) -> Vec<u8> {
    let mut body = Writer::default();
    for argument in arguments {
        body.text(argument);
    }
    // The fields begin at a multiple of eight, so what pads them does not depend on what is before.
    let mut fields = Writer::default();
    fields.field(PATH, "o", method.path);
    fields.field(INTERFACE, "s", method.interface);
    fields.field(MEMBER, "s", method.name);
    fields.field(DESTINATION, "s", method.service);
    if !arguments.is_empty() {
        fields.field(SIGNATURE, "g", &"s".repeat(arguments.len()));
    }
    let mut message = Writer(vec![b'l', CALL, NO_AUTO_START, 1]);
    message.number(body.0.len());
    message.0.extend_from_slice(&serial.to_le_bytes());
    message.number(fields.0.len());
    message.0.append(&mut fields.0);
    message.pad(8);
    message.0.append(&mut body.0);
    message.0
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn new(message: &'a [u8], at: usize) -> Option<Self> {
        let big = match message.first()? {
            b'l' => false,
            b'B' => true,
            _ => return None,
        };
        Some(Self { message, at, big })
    }

    fn pad(&mut self, to: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(to)?;
        Some(())
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.pad(4)?;
        let bytes: [u8; 4] = self.bytes(4)?.try_into().ok()?;
        Some(if self.big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    fn string(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.bytes(length)?.to_vec()).ok()?;
        self.byte()?;
        Some(text)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        self.string(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.string(length)
    }
}

/// How many bytes come after the fixed part.
pub(super) fn rest(fixed: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(fixed, 4)?;
    let body = usize::try_from(reader.number()?).ok()?;
    reader.at = 12;
    let fields = usize::try_from(reader.number()?).ok()?;
    fields.checked_next_multiple_of(8)?.checked_add(body)
}

/// The serial of the call that a message answers, and the answer; `None` where it is no message.
pub(super) fn read(message: &[u8]) -> Option<(Option<u32>, Option<Answer>)> {
    let kind = *message.get(1)?;
    let mut reader = Reader::new(message, 12)?;
    let end = usize::try_from(reader.number()?).ok()?.checked_add(FIXED)?;
    let (mut serial, mut error, mut body) = (None, String::new(), String::new());
    while reader.at < end {
        reader.pad(8)?;
        let code = reader.byte()?;
        match (code, reader.signature()?.as_str()) {
            (REPLY_SERIAL, "u") => serial = Some(reader.number()?),
            (ERROR_NAME, "s") => error = reader.text()?,
            (SIGNATURE, "g") => body = reader.signature()?,
            (_, "s" | "o") => {
                reader.text()?;
            }
            (_, "g") => {
                reader.signature()?;
            }
            (_, "u") => {
                reader.number()?;
            }
            _ => return None,
        }
    }
    reader.at = end;
    reader.pad(8)?;
    let first = match body.chars().next() {
        Some('s' | 'o') => Answer::Text(reader.text()?),
        Some('b') => Answer::Truth(reader.number()? != 0),
        _ => Answer::Nothing,
    };
    let answer = match kind {
        RETURN => Some(first),
        ERROR => {
            let text = match first {
                Answer::Text(text) => text,
                Answer::Nothing | Answer::Truth(_) | Answer::Error { .. } => String::new(),
            };
            Some(Answer::Error { name: error, text })
        }
        _ => None,
    };
    Some((serial, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: Method<'_> = Method {
        service: "org.fedoraproject.FirewallD1",
        path: "/org/fedoraproject/FirewallD1",
        interface: "org.fedoraproject.FirewallD1.zone",
        name: "addSource",
    };

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| {
            let text = core::str::from_utf8(pair).unwrap();
            u8::from_str_radix(text, 16).unwrap()
        };
        digits.chunks(2).map(pair).collect()
    }

    /// From `strace -xx -e sendmsg dbus-send --system --print-reply --dest=org.fedoraproject.FirewallD1
    /// /org/fedoraproject/FirewallD1 org.fedoraproject.FirewallD1.zone.addSource string:trusted string:10.77.0.3` of
    /// dbus 1.14.10, with `NO_AUTO_START` in place of its flags.
    #[test]
    fn a_call_is_laid_out_as_dbus_send_does() {
        let golden = hex(
            "6c0102011a00000002000000a000000001016f001d0000002f6f72672f6665646f726170726f6a6563742f4669726577616c6c44\
             3100000002017300210000006f72672e6665646f726170726f6a6563742e4669726577616c6c44312e7a6f6e6500000000000000\
             0301730009000000616464536f7572636500000000000000060173001c0000006f72672e6665646f726170726f6a6563742e4669\
             726577616c6c44310000000008016700027373000700000074727573746564000900000031302e37372e302e3300",
        );
        let message = call(2, &METHOD, &["trusted", "10.77.0.3"]);
        assert_eq!(message, golden);
        assert_eq!(rest(&message).unwrap() + FIXED, message.len());
        assert_eq!(read(&message), Some((None, None)));
    }

    /// What dbus-daemon 1.14.10 answers where nobody has the name.
    #[test]
    fn an_error_of_the_bus_is_read() {
        let golden = hex(
            "6c03010151000000030000007500000006017300040000003a312e300000000004017300290000006f72672e667265656465736b\
             746f702e444275732e4572726f722e53657276696365556e6b6e6f776e0000000000000005017500020000000801670001730000\
             07017300140000006f72672e667265656465736b746f702e44427573000000004c000000546865206e616d65206f72672e666564\
             6f726170726f6a6563742e4669726577616c6c443120776173206e6f742070726f766964656420627920616e79202e7365727669\
             63652066696c657300",
        );
        let error = Answer::Error {
            name: "org.freedesktop.DBus.Error.ServiceUnknown".to_owned(),
            text: "The name org.fedoraproject.FirewallD1 was not provided by any .service files"
                .to_owned(),
        };
        assert_eq!(read(&golden), Some((Some(2), Some(error))));
    }

    #[test]
    fn answers_are_read_in_both_byte_orders() {
        let returned = hex(
            "6c 02 01 01 0c000000 05000000 0f000000  05 01 75 00 07000000  08 01 67 00 01 73 00 00 \
             07000000 74727573746564 00",
        );
        assert_eq!(rest(&returned[..16]).unwrap() + FIXED, returned.len());
        let text = Answer::Text("trusted".to_owned());
        assert_eq!(read(&returned), Some((Some(7), Some(text))));
        let truth = hex(
            "42 02 01 01 00000004 00000005 0000000f  05 01 75 00 00000007  08 01 67 00 01 62 00 00 00000001",
        );
        assert_eq!(read(&truth), Some((Some(7), Some(Answer::Truth(true)))));
        let refused = hex(
            "6c 03 01 01 0c000000 05000000 1f000000  05 01 75 00 07000000  04 01 73 00 03000000 612e62 00 00000000 \
             08 01 67 00 01 73 00 00  07000000 74727573746564 00",
        );
        let error = Answer::Error {
            name: "a.b".to_owned(),
            text: "trusted".to_owned(),
        };
        assert_eq!(read(&refused), Some((Some(7), Some(error))));
    }

    #[test]
    fn what_is_no_message_is_none() {
        let message = call(7, &METHOD, &["trusted", "10.77.0.3"]);
        for length in 0..message.len() {
            let cut = &message[..length];
            if length < FIXED + 0xa0 {
                assert_eq!(read(cut), None, "{length}");
            }
            let mut wrong = message.clone();
            wrong[length] ^= 0xff;
            // Whatever it is: no panic.
            let _ = read(&wrong);
        }
    }
}
