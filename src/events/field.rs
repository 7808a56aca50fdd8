//! The closed list of fields whose values are searchable.
//!
//! Names are Cowrie's own, plus `command` for what was typed whatever the event was called.
//! The number of a field is private to the process; files hold names.

macro_rules! fields {
    ($($variant:ident $name:literal $about:literal),* $(,)?) => {
        /// A field of which every value is a term of the index.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Field { $($variant),* }

        impl Field {
            /// Every field, in the order of their numbers.
            pub const ALL: &'static [Field] = &[$(Field::$variant),*];

            /// The name used in queries, in answers and in sidecars.
            pub const fn name(self) -> &'static str {
                match self { $(Field::$variant => $name),* }
            }

            /// One line for `--help`.
            pub const fn about(self) -> &'static str {
                match self { $(Field::$variant => $about),* }
            }

            /// The field called `name`, if there is one.
            pub fn parse(name: &str) -> Option<Field> {
                match name { $($name => Some(Field::$variant),)* _ => None }
            }
        }
    };
}

fields! {
    Eventid "eventid" "kind of event, such as cowrie.login.failed",
    Session "session" "session id",
    Sensor "sensor" "name of the honeypot",
    SrcIp "src_ip" "address the attack came from",
    DstIp "dst_ip" "address or host name attacked, or asked for through a tunnel",
    DstPort "dst_port" "port attacked, or asked for through a tunnel",
    Protocol "protocol" "ssh, telnet, …",
    Username "username" "user name tried",
    Password "password" "password tried",
    Command "command" "what was typed",
    Version "version" "client's version string",
    Hassh "hassh" "fingerprint of the SSH client",
    Fingerprint "fingerprint" "fingerprint of an SSH key",
    Ja4 "ja4" "TLS client fingerprint",
    Ja4h "ja4h" "HTTP client fingerprint",
    Arch "arch" "architecture the client was told",
    Url "url" "URL fetched",
    Shasum "shasum" "SHA-256 of a file",
    Filename "filename" "name of an uploaded file",
    Destfile "destfile" "where a download was put",
    Cve "cve" "vulnerability tried",
}

impl Field {
    /// The field with number `index`, the inverse of `field as u8`.
    pub fn from_index(index: u8) -> Option<Field> {
        Field::ALL.get(index as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_the_field() {
        for (index, &field) in Field::ALL.iter().enumerate() {
            assert_eq!(Field::parse(field.name()), Some(field));
            assert_eq!(Field::from_index(index as u8), Some(field));
        }
        assert_eq!(Field::parse("nosuch"), None);
        assert_eq!(Field::from_index(Field::ALL.len() as u8), None);
    }
}
