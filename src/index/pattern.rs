//! What a value must be like: the right side of a query's term.
use crate::events::Field;
use crate::network::Network;
use std::net::IpAddr;

/// Most memory that one regular expression may take once it is compiled, bytes, and its table of states while it matches.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// A value, or a shape of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exact(Vec<u8>),
    /// The pieces between the stars: at least two, the first and last possibly empty.
    Wildcard(Vec<Vec<u8>>),
    Expression(Expression),
    /// Addresses of a network, which all begin like this.
    Network(Network, String),
    /// Whole numbers on one side of another.
    Number(Comparison, u64),
}

impl Pattern {
    pub fn network(network: Network) -> Pattern {
        Pattern::Network(network, common_prefix(network))
    }

    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Exact(exact) => exact == value,
            Pattern::Wildcard(pieces) => wildcard_matches(pieces, value),
            Pattern::Expression(expression) => expression.0.is_match(value),
            Pattern::Network(network, _) => text(value).and_then(|text| text.parse().ok()).is_some_and(|address| network.contains(address)),
            Pattern::Number(comparison, than) => {
                text(value).and_then(|text| text.parse().ok()).is_some_and(|number: u64| match comparison {
                    Comparison::Below => number < *than,
                    Comparison::AtMost => number <= *than,
                    Comparison::Above => number > *than,
                    Comparison::AtLeast => number >= *than,
                })
            }
        }
    }

    /// What every matching value begins with.
    pub fn prefix(&self) -> &[u8] {
        match self {
            Pattern::Exact(exact) => exact,
            Pattern::Wildcard(pieces) => pieces.first().map_or(&[], |piece| piece),
            Pattern::Network(_, prefix) => prefix.as_bytes(),
            Pattern::Expression(_) | Pattern::Number(..) => &[],
        }
    }

    /// The longest run of bytes that every matching value has.
    pub fn longest_literal(&self) -> &[u8] {
        match self {
            Pattern::Wildcard(pieces) => pieces.iter().max_by_key(|piece| piece.len()).map_or(&[], |piece| piece),
            other => other.prefix(),
        }
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

/// Stars match greedily from the left: with literals between them the leftmost place of each is as good as any.
fn wildcard_matches(pieces: &[Vec<u8>], value: &[u8]) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = value.strip_prefix(&first[..]) else { return false };
    let Some(body) = rest.strip_suffix(&last[..]) else { return false };
    rest = body;
    middle.iter().all(|piece| match memchr::memmem::find(rest, piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// A regular expression, found anywhere in a value in time linear in it. Equal to one that is written alike.
#[derive(Clone, Debug)]
pub struct Expression(regex::bytes::Regex);

impl Expression {
    /// As it stands between the slashes; the error is for a person.
    pub fn new(written: &str) -> Result<Expression, String> {
        Expression::build(written, false)
    }

    /// Text that holds these pieces in this order, in capitals or not.
    pub fn of_pieces(pieces: &[String]) -> Result<Expression, String> {
        let escaped: Vec<String> = pieces.iter().map(|piece| regex::escape(piece)).collect();
        Expression::build(&escaped.join("(?s:.*)"), true)
    }

    fn build(written: &str, any_case: bool) -> Result<Expression, String> {
        let built = regex::bytes::RegexBuilder::new(written)
            .case_insensitive(any_case)
            .size_limit(EXPRESSION_BYTES_MAX)
            .dfa_size_limit(EXPRESSION_BYTES_MAX)
            .build();
        built.map(Expression).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large: repeat less".to_owned(),
            // Its last line says what is wrong, those before it draw where.
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        })
    }
}

impl Eq for Expression {}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// What all addresses of a network begin with when they are written out.
fn common_prefix(network: Network) -> String {
    let IpAddr::V4(address) = network.address else {
        // Zeros are left out of these, so that nothing is said by how one begins.
        return String::new();
    };
    let whole = usize::from(network.bits / 8);
    let octets: Vec<String> = address.octets()[..whole].iter().map(u8::to_string).collect();
    octets.join(".") + if (1..4).contains(&whole) { "." } else { "" }
}

/// On which side of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Comparison {
    /// The comparison that a value begins with, and what follows it.
    pub fn split(written: &str) -> Option<(Comparison, &str)> {
        let signs = [(">=", Comparison::AtLeast), ("<=", Comparison::AtMost), (">", Comparison::Above), ("<", Comparison::Below)];
        signs.into_iter().find_map(|(sign, comparison)| Some((comparison, written.strip_prefix(sign)?)))
    }
}

/// Fields whose values are addresses, and those whose are numbers.
pub fn holds_addresses(field: Field) -> bool {
    matches!(field, Field::SrcIp | Field::DstIp | Field::Ipv4 | Field::Ipv6)
}

pub fn holds_numbers(field: Field) -> bool {
    field == Field::DstPort
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("203.0.113.0/24", "203.0.113.255", "203.0.112.255"),
            ("203.0.113.77/24", "203.0.113.1", "::ffff:203.0.113.1"),
            ("10.0.0.0/9", "10.127.255.255", "10.128.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.40"),
            ("1.2.3.4/31", "1.2.3.5", "1.2.3.6"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("::1/128", "::1", "::2"),
        ] {
            let pattern = Pattern::network(network.parse().expect(network));
            assert!(pattern.matches(inside.as_bytes()) && inside.as_bytes().starts_with(pattern.prefix()), "{network} {inside}");
            assert!(!pattern.matches(outside.as_bytes()), "{network} {outside}");
            assert!(!pattern.matches(b"example.com") && !pattern.matches(b"\xff"));
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let (comparison, rest) = Comparison::split(">=1024").unwrap();
        let pattern = Pattern::Number(comparison, rest.parse().unwrap());
        let values = ["1023", "1024", "9", "65535", "x", "", "-1", "99999999999999999999999"];
        assert_eq!(values.map(|value| pattern.matches(value.as_bytes())), [false, true, false, true, false, false, false, false]);
        assert_eq!(Comparison::split("1024"), None);
    }

    #[test]
    fn expressions_are_found_anywhere_and_bounded() {
        let pattern = Pattern::Expression(Expression::new("wget.+sh$").unwrap());
        assert!(pattern.matches(b"cd /tmp; wget http://x/a.sh") && !pattern.matches(b"wget a.sh; ls") && pattern.matches(b"\xffwget  sh"));
        assert!(Expression::new("(").unwrap_err().contains("unclosed group"));
        assert!(Expression::new("(a{1000}){1000}").unwrap_err().contains("too large"));
        let text = Pattern::Expression(Expression::of_pieces(&["wget".into(), "a.b".into()]).unwrap());
        assert!(text.matches(b"WGET\nhttp://A.B/") && !text.matches(b"wget aXb") && !text.matches(b"a.b wget"));
    }
}
