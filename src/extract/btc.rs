//! Bitcoin addresses of the main network: base58check (P2PKH, P2SH) and segregated witness (bech32, bech32m).
//!
//! The checksums make them certain: anything else of that shape is a password or part of a blob. Test networks are left out, since
//! nobody is paid there.
use super::runs::{ALNUM, glued_after, glued_before, past_escape, runs};
use super::{Extractor, Found, Needs, Text};
use crate::events::Field;
use bech32::primitives::decode::SegwitHrpstring;

/// Bitcoin addresses; one entry of the registry.
pub struct Btc;

/// Shortest address: a two-byte witness program.
const LEN_MIN: usize = 14;
/// Longest: a forty-byte one.
const LEN_MAX: usize = 74;

impl Extractor for Btc {
    fn fields(&self) -> &'static [Field] {
        &[Field::Btc]
    }

    fn needs(&self) -> &'static Needs {
        // The shortest witness program.
        const NEEDS: Needs = Needs::NOTHING.digits(1).run(14);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        for run in runs(text.plain.as_bytes(), &ALNUM, LEN_MIN) {
            let run = past_escape(text.plain.as_bytes(), run);
            if run.is_empty() || run.len() > LEN_MAX {
                continue;
            }
            let word = &text.plain[run.clone()];
            let is_segwit = match word.as_bytes()[0] {
                b'1' | b'3' if is_base58check(word) => false,
                b'b' | b'B' if is_segwit(word) => true,
                _ => continue,
            };
            // The run ends at an ASCII byte's edge, but a digit of another script may follow.
            if glued_before(text.plain, run.start) || glued_after(text.plain, run.end) {
                continue;
            }
            if is_segwit && word.starts_with('B') {
                found.add(Field::Btc, &word.to_ascii_lowercase(), text, run);
            } else {
                found.add(Field::Btc, word, text, run);
            }
        }
    }
}

/// Whether it is 21 bytes with their checksum, the first of them a version of the main network's.
fn is_base58check(word: &str) -> bool {
    if !(25..=35).contains(&word.len()) {
        return false;
    }
    let mut payload = [0u8; 32];
    let len = bs58::decode(word).with_check(None).onto(&mut payload);
    matches!(len, Ok(21)) && matches!(payload[0], 0x00 | 0x05)
}

/// Whether it is a witness version and program of the main network's, with the checksum that version takes.
fn is_segwit(word: &str) -> bool {
    word.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("bc1"))
        && SegwitHrpstring::new(word).is_ok_and(|address| address.hrp().is_valid_on_mainnet())
}

#[cfg(test)]
mod tests {
    use super::super::Context::*;
    use super::super::table::{Row, check};
    use super::*;

    #[test]
    fn a_table_of_tricky_texts() {
        const GENESIS: &str = "btc=1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
        const P2SH: &str = "btc=3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy";
        const V0: &str = "btc=bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        let rows: &[Row] = &[
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", &[GENESIS]),
            (Other, "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", &[P2SH]),
            (Other, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", &["btc=1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"]),
            (Other, "1111111111111111111114oLvT2", &["btc=1111111111111111111114oLvT2"]),
            (Other, "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", &[&format!("{V0} «BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4»")]),
            (Other, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", &[V0]),
            // The valid ones of BIP-350.
            (
                Other,
                "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
                &["btc=bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y"],
            ),
            (Other, "BC1SW50QGDZ25J", &["btc=bc1sw50qgdz25j"]),
            (Other, "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", &["btc=bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs"]),
            (
                Other,
                "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
                &["btc=bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"],
            ),
            (
                Other,
                "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
                &["btc=bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"],
            ),
            // What stands around them.
            (Chat, "Send 0.1 BTC to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.", &[GENESIS]),
            (Chat, "BTC:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa!", &[GENESIS]),
            (Other, "bitcoin:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa?amount=0.1", &[GENESIS]),
            (Other, "BITCOIN:BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4?AMOUNT=1", &[V0]),
            (Other, "https://chain.example/btc/address/3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy/", &[P2SH]),
            (Other, "(1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa)", &[GENESIS]),
            (Other, "[1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa]", &[GENESIS]),
            (Other, "{\"btc\":\"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"}", &[V0]),
            (Other, "<code>bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4</code>", &[V0]),
            (Other, "`bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4`", &[V0]),
            (Other, "“1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa”", &[GENESIS]),
            (Other, "=1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa=", &[GENESIS]),
            (Other, "_1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa_", &[GENESIS]),
            (Other, "wallet-1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa-x", &[GENESIS]),
            (Command, "xmrig -o p.example:3333 -u 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.worker -p x", &[GENESIS]),
            (Command, "echo bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4>w", &[V0]),
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa,3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", &[GENESIS, P2SH]),
            (
                Other,
                "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
                &[GENESIS, V0],
            ),
            (Other, "是1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", &[GENESIS]),
            (Other, "\n1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa\n", &[GENESIS]),
            // One character changed, swapped, lost, added; the wrong case.
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", &[]),
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfN", &[]),
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNaa", &[]),
            (Other, "A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", &[]),
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DvifNa", &[]),
            (Other, "1a1zp1ep5qgefi2dmptftl5slmv7divfna", &[]),
            (Other, "1A1ZP1EP5QGEFI2DMPTFTL5SLMV7DIVFNA", &[]),
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7Divf0a", &[]),
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfIa", &[]),
            (Other, "11A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", &[]),
            (Other, "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLz", &[]),
            (Other, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", &[]),
            (Other, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t", &[]),
            (Other, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3T4", &[]),
            (Other, "Bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", &[]),
            (Other, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kb8f3t4", &[]),
            (Other, "bc1qw508d6qejxtdg4y5r3zarvary 0c5xw7kv8f3t4", &[]),
            (Other, "1A1zP1eP5QGefi2DM\u{200b}PTfTL5SLmv7DivfNa", &[]),
            (Other, "x1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", &[]),
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNax", &[]),
            (Other, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa５", &[]),
            // The invalid ones of BIP-350: other networks, the checksum of the other kind, wrong versions, lengths, padding.
            (Other, "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7", &[]),
            (Other, "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut", &[]),
            (Other, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", &[]),
            (Other, "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL", &[]),
            (Other, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", &[]),
            (Other, "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", &[]),
            (Other, "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", &[]),
            (Other, "bc1pw5dgrnzv", &[]),
            (Other, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav", &[]),
            (Other, "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", &[]),
            (Other, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf", &[]),
            (Other, "bc1gmk9yu", &[]),
            // Of the test network, of another coin, a key; passwords and numbers.
            (Other, "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", &[]),
            (Other, "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", &[]),
            (Other, "LM2WMpR1Rp6j3Sa59cMXMs1SPzj9eXpGc1", &[]),
            (Other, "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ", &[]),
            (Other, "111111111111111111111111111111", &[]),
            (Other, "123456789012345678901234567890", &[]),
            (Other, "3333333333333333333333333333333333", &[]),
            (Other, "bc1", &[]),
            (Other, "bc1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", &[]),
            (Other, "", &[]),
        ];
        check(&Btc, 60, rows);
    }
}
