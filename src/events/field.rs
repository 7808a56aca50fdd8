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
    Url "url" "URL fetched, or named in a text",
    Shasum "shasum" "SHA-256 of a file",
    Filename "filename" "name of an uploaded file",
    Destfile "destfile" "where a download was put",
    Cve "cve" "vulnerability tried, or named in a text",
    Domain "domain" "domain name in a text",
    Ipv4 "ipv4" "IPv4 address in a text",
    Ipv6 "ipv6" "IPv6 address in a text",
    Email "email" "e-mail address",
    Md5 "md5" "MD5 hash",
    Sha1 "sha1" "SHA-1 hash",
    Sha256 "sha256" "SHA-256 hash",
    Sha512 "sha512" "SHA-512 hash",
    Btc "btc" "Bitcoin address",
    Eth "eth" "Ethereum address",
    Xmr "xmr" "Monero address",
    Phone "phone" "phone number, as it was written and in E.164 form",
    Upi "upi" "UPI payment id",
    Ifsc "ifsc" "IFSC code of an Indian bank branch",
    BankAccount "bank_account" "bank account number",
    SshKey "ssh_key" "SSH public key",
    Channel "channel" "channel of a chat: SMS, WhatsApp, …",
    ScamType "scam_type" "kind of scam a chat message belongs to",
    Keyword "keyword" "word that scams use",
    Sender "sender" "who wrote a chat message",
    Credential "credential" "user name and password tried together: root:123456",
    CommandLine "command_line" "what was typed at a prompt, once for each time it was typed",
    Download "download" "URL of a downloaded file, and its SHA-256",
    Upload "upload" "name of an uploaded file, and its SHA-256",
    Tunnel "tunnel" "host and port asked for through a tunnel",
    Country "country" "country of src_ip, by an imported database: DE",
    Asn "asn" "autonomous system of src_ip, by an imported database: AS64500",
}

impl Field {
    /// Whether its values are found in texts: they need not stand in the line as they are.
    pub fn is_indicator(self) -> bool {
        let behind_members = self as u8 > Field::Cve as u8 && !matches!(self, Field::Channel | Field::Sender) && !self.is_derived();
        behind_members || matches!(self, Field::Url | Field::Cve | Field::Hassh | Field::Fingerprint | Field::Ja4 | Field::Ja4h)
    }

    /// Whether its values are made of other fields' values of the same event.
    pub fn is_joined(self) -> bool {
        matches!(self, Field::Credential | Field::CommandLine | Field::Download | Field::Upload | Field::Tunnel)
    }

    /// Whether its values are looked up in a database ([`crate::geoip`]).
    pub fn is_place(self) -> bool {
        matches!(self, Field::Country | Field::Asn)
    }

    /// Whether its values do not stand in the line, but are made of those that do.
    pub fn is_derived(self) -> bool {
        self.is_joined() || self.is_place()
    }

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
