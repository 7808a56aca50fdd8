//! Writes small MaxMind DB files, of the shapes that are found in the wild: see <https://maxmind.github.io/MaxMind-DB/>.
#![allow(dead_code, reason = "not every test that shares this needs all of it")]
use std::net::IpAddr;

/// How a database says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"country": {"iso_code": "DE"}}`
    MaxMindCountry,
    /// `{"autonomous_system_number": 64500, "autonomous_system_organization": "Example"}`
    MaxMindAsn,
    /// `{"country_code": "DE"}`
    FlatCountry,
    /// `{"as_number": 64500, "as_organization": "Example"}`
    FlatAsn,
    /// `{"country_code": "DE", "asn": "AS64500"}`, from a value `DE 64500`.
    Both,
    /// `{"city": "Berlin"}`
    Neither,
}

/// A database of networks (`198.51.100.0/24`, none within another) and their values.
pub fn written(shape: Shape, networks: &[(&str, &str)]) -> Vec<u8> {
    written_at(shape, networks, 1_750_000_000)
}

/// The same with the time at which it says it was built.
pub fn written_at(shape: Shape, networks: &[(&str, &str)], build_epoch: u64) -> Vec<u8> {
    let (mut tree, mut data) = (Tree(vec![[Child::Nothing; 2]]), Vec::new());
    for (network, value) in networks {
        let (address, prefix) = network.split_once('/').expect("ADDRESS/PREFIX");
        let prefix: usize = prefix.parse().expect("a number");
        // IPv4 lies under 96 zeros.
        let (bits, prefix) = match address.parse().expect("an address") {
            IpAddr::V4(address) => (u128::from(u32::from(address)), prefix + 96),
            IpAddr::V6(address) => (u128::from(address), prefix),
        };
        tree.put(bits, prefix, data.len());
        data.extend(record(shape, value));
    }
    let mut file = tree.bytes();
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.extend(map(&[
        ("binary_format_major_version", unsigned(5, 2)),
        ("binary_format_minor_version", unsigned(5, 0)),
        ("build_epoch", unsigned(9, build_epoch)),
        ("database_type", text(&format!("Test-{shape:?}"))),
        ("description", map(&[])),
        ("ip_version", unsigned(5, 6)),
        ("languages", vec![0x00, 4]),
        ("node_count", unsigned(6, tree.0.len() as u64)),
        ("record_size", unsigned(5, 24)),
    ]));
    file
}

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    Record(usize),
}

struct Tree(Vec<[Child; 2]>);

impl Tree {
    fn put(&mut self, bits: u128, prefix: usize, record: usize) {
        let mut node = 0;
        for level in 0..prefix {
            let side = (bits >> (127 - level) & 1) as usize;
            if level + 1 == prefix {
                self.0[node][side] = Child::Record(record);
            } else if let Child::Node(next) = self.0[node][side] {
                node = next;
            } else {
                self.0.push([Child::Nothing; 2]);
                let next = self.0.len() - 1;
                self.0[node][side] = Child::Node(next);
                node = next;
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let count = self.0.len();
        let number = |child: &Child| match *child {
            Child::Nothing => count,
            Child::Node(node) => node,
            Child::Record(offset) => count + 16 + offset,
        };
        self.0.iter().flatten().flat_map(|child| (number(child) as u32).to_be_bytes().into_iter().skip(1)).collect()
    }
}

fn record(shape: Shape, value: &str) -> Vec<u8> {
    let number = |value: &str| unsigned(6, value.parse().expect("a number"));
    match shape {
        Shape::MaxMindCountry => map(&[("country", map(&[("iso_code", text(value)), ("geoname_id", unsigned(6, 1))]))]),
        Shape::MaxMindAsn => {
            map(&[("autonomous_system_number", number(value)), ("autonomous_system_organization", text(&format!("Example {value}")))])
        }
        Shape::FlatCountry => map(&[("country_code", text(value))]),
        Shape::FlatAsn => map(&[("as_number", number(value)), ("as_organization", text(&format!("Example {value}")))]),
        Shape::Both => {
            let (country, asn) = value.split_once(' ').expect("a country and a number");
            map(&[("country_code", text(country)), ("asn", text(&format!("AS{asn}")))])
        }
        Shape::Neither => map(&[("city", text(value))]),
    }
}

/// Types up to 7 stand in the first byte, the others in a second one.
fn control(kind: u8, size: usize) -> Vec<u8> {
    let (size, behind) = if size < 29 { (size as u8, None) } else { (29, Some((size - 29) as u8)) };
    let begin = if kind <= 7 { vec![kind << 5 | size] } else { vec![size, kind - 7] };
    begin.into_iter().chain(behind).collect()
}

fn text(text: &str) -> Vec<u8> {
    let mut out = control(2, text.len());
    out.extend(text.as_bytes());
    out
}

fn unsigned(kind: u8, number: u64) -> Vec<u8> {
    let bytes: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
    let mut out = control(kind, bytes.len());
    out.extend(bytes);
    out
}

fn map(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = control(7, members.len());
    for (name, value) in members {
        out.extend(text(name));
        out.extend(value);
    }
    out
}
