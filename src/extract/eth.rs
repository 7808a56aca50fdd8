//! Ethereum addresses: `0x` and 40 hexadecimal digits, whose capitals are a checksum (EIP-55) when there are small letters too.
use super::runs::{HEX, glued_after, glued_before};
use super::{Extractor, Found, Needs, Text};
use crate::events::Field;
use tiny_keccak::{Hasher, Keccak};

/// Ethereum addresses; one entry of the registry.
pub struct Eth;

const DIGITS: usize = 40;
/// Fewest different digits: addresses with fewer are zero, masks and places to burn money at.
const DIGITS_DISTINCT_MIN: u32 = 6;

impl Extractor for Eth {
    fn fields(&self) -> &'static [Field] {
        &[Field::Eth]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.one_of(b"x").run(42);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        let bytes = text.plain.as_bytes();
        for x in memchr::memchr2_iter(b'x', b'X', bytes) {
            let (from, end) = (x + 1, x + 1 + DIGITS);
            let Some(digits) = bytes.get(from..end).filter(|_| x > 0 && bytes[x - 1] == b'0') else { continue };
            if !digits.iter().all(|&byte| HEX.has(byte)) || glued_before(text.plain, x - 1) || glued_after(text.plain, end) {
                continue;
            }
            if is_address(digits) {
                let value = text.plain[x - 1..end].to_ascii_lowercase();
                found.add(Field::Eth, &value, text, x - 1..end);
            }
        }
    }
}

/// Whether 40 digits are an address that somebody may own.
fn is_address(digits: &[u8]) -> bool {
    let mut seen = 0u32;
    let (mut small, mut capital) = (false, false);
    for digit in digits {
        small |= digit.is_ascii_lowercase();
        capital |= digit.is_ascii_uppercase();
        seen |= 1 << (if digit.is_ascii_digit() { digit - b'0' } else { (digit | 0x20) - b'a' + 10 });
    }
    (small || capital) && seen.count_ones() >= DIGITS_DISTINCT_MIN && (!(small && capital) || is_checksummed(digits))
}

/// Whether the capitals are those of EIP-55: a letter is one where the hash of the small letters has a digit above 7.
fn is_checksummed(digits: &[u8]) -> bool {
    let mut hasher = Keccak::v256();
    hasher.update(&digits.to_ascii_lowercase());
    let mut hash = [0; 32];
    hasher.finalize(&mut hash);
    let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.iter().zip(nibbles).all(|(digit, nibble)| !digit.is_ascii_alphabetic() || digit.is_ascii_uppercase() == (nibble > 7))
}

#[cfg(test)]
mod tests {
    use super::super::Context::*;
    use super::super::table::{Row, check};
    use super::*;

    #[test]
    fn a_table_of_tricky_texts() {
        const A: &str = "eth=0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";
        const B: &str = "eth=0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359";
        let rows: &[Row] = &[
            // The addresses of EIP-55.
            (Other, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", &[&format!("{A} «0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed»")]),
            (Other, "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", &[B]),
            (Other, "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", &["eth=0xdbf03b407c01e7cd3cbea99509d93f8dddc8c6fb"]),
            (Other, "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb", &["eth=0xd1220a0cf47c7b9be7a2e6ba89f429762e7b9adb"]),
            (Other, "0x52908400098527886E0F7030069857D2E4169EE7", &["eth=0x52908400098527886e0f7030069857d2e4169ee7"]),
            (Other, "0x8617E340B3D01FA5F11F306F4090FD50E238070D", &["eth=0x8617e340b3d01fa5f11f306f4090fd50e238070d"]),
            (Other, "0xde709f2102306220921060314715629080e2fb77", &["eth=0xde709f2102306220921060314715629080e2fb77"]),
            (Other, "0x27b1fdb04752bbc536007a920d24acb045561c26", &["eth=0x27b1fdb04752bbc536007a920d24acb045561c26"]),
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[A]),
            (Other, "0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", &[A]),
            (Other, "0X5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", &[A]),
            // What stands around them.
            (Chat, "Pay 1 ETH to 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed.", &[A]),
            (Chat, "ETH:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed!", &[A]),
            (Other, "ethereum:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed@1?value=1", &[A]),
            (Other, "https://scan.example/address/0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed#code", &[A]),
            (Other, "(0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed)", &[A]),
            (Other, "[0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed]", &[A]),
            (Other, "{\"to\":\"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\"}", &[A]),
            (Other, "<b>0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed</b>", &[A]),
            (Other, "'0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed',", &[A]),
            (Other, "“0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed”", &[A]),
            (Other, "`0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed`;", &[A]),
            (Other, "=0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed&x=1", &[A]),
            (Other, "_0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed_", &[A]),
            (Other, "wallet-0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed-", &[A]),
            (Other, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed.worker1", &[A]),
            (Other, "是0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed是", &[A]),
            (Other, "\n0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\n", &[A]),
            (Other, "\\n0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\\n", &[A]),
            (Command, "miner --wallet 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[A]),
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed,0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", &[A, B]),
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed 0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", &[A]),
            (Other, "0x 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[A]),
            // Capitals that are not the checksum's.
            (Other, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", &[]),
            (Other, "0x5aaEb6053F3E94C9b9A09f33669435E7Ef1BeAed", &[]),
            (Other, "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", &[]),
            (Other, "0x6aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", &[]),
            (Other, "0xfb6916095cA1df60bB79Ce92cE3Ea74c37c5d359", &[]),
            (Other, "0xDe709f2102306220921060314715629080e2fb77", &[]),
            // Too short, too long, glued, broken.
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae", &[]),
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed0", &[]),
            (Other, "0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060", &[]),
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaedg", &[]),
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaeg", &[]),
            (Other, "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[]),
            (Other, "x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[]),
            (Other, "\\x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[]),
            (Other, "00x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[]),
            (Other, "a0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[]),
            (Other, "Ox5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[]),
            (Other, "0x5aaeb6053f3e94c9b9a0 9f33669435e7ef1beaed", &[]),
            (Other, "0x5aaeb6053f3e94c9b9a0\u{200b}9f33669435e7ef1beaed", &[]),
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae７", &[]),
            (Other, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed７", &[]),
            (Other, "７0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[]),
            (Other, "0x-5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", &[]),
            // Nobody's.
            (Other, "0x0000000000000000000000000000000000000000", &[]),
            (Other, "0xffffffffffffffffffffffffffffffffffffffff", &[]),
            (Other, "0x000000000000000000000000000000000000dEaD", &[]),
            (Other, "0xdeaddeaddeaddeaddeaddeaddeaddeaddeaddead", &[]),
            (Other, "0xaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbb", &[]),
            (Other, "0x1234567890123456789012345678901234567890", &[]),
            (Other, "0x", &[]),
            (Other, "x", &[]),
            (Other, "", &[]),
            (Other, "0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x0x", &[]),
        ];
        check(&Eth, 60, rows);
    }
}
