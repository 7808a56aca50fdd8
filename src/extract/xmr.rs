//! Monero addresses of the main network: standard, integrated and subaddresses, each with its checksum.
use super::runs::{ALNUM, glued_after, glued_before, past_escape, runs};
use super::{Extractor, Found, Needs, Text};
use crate::events::Field;

/// Monero addresses; one entry of the registry.
pub struct Xmr;

/// Characters of a standard address or a subaddress, and of an integrated one, which carries a payment id.
const LEN: usize = 95;
const LEN_INTEGRATED: usize = 106;

impl Extractor for Xmr {
    fn fields(&self) -> &'static [Field] {
        &[Field::Xmr]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.run(95);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        for run in runs(text.plain.as_bytes(), &ALNUM, LEN) {
            let run = past_escape(text.plain.as_bytes(), run);
            let word = &text.plain[run.clone()];
            let networks: &[u8] = match (run.len(), word.as_bytes()[0]) {
                (LEN, b'4' | b'8') => &[18, 42],
                (LEN_INTEGRATED, b'4') => &[19],
                _ => continue,
            };
            let is_address = base58_monero::decode_check(word).is_ok_and(|payload| networks.contains(&payload[0]));
            if is_address && !glued_before(text.plain, run.start) && !glued_after(text.plain, run.end) {
                found.add(Field::Xmr, word, text, run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Context::*;
    use super::super::table::{Row, check};
    use super::*;

    /// The donation addresses of the project and of its community fund.
    const STANDARD: &str = "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A";
    const SUBADDRESS: &str = "888tNkZrPN6JsEgekjMnABU4TBzc2Dt29EPAvkRxbANsAnjyPbb3iQ1YBRk1UXcdRsiKc9dhwMVgN5S9cQUiyoogDavup3H";

    fn address(network: u8, len: usize) -> String {
        let mut payload = vec![network];
        payload.extend((1..len).map(|at| (at * 37 + 11) as u8));
        base58_monero::encode_check(&payload).unwrap()
    }

    /// In these texts `{S}` is a standard address, `{B}` a subaddress, `{I}` an integrated one; what is found is named the same way.
    const TEXTS: &[(super::super::Context, &str, &[&str])] = &[
        (Other, "{S}", &["{S}"]),
        (Other, "{B}", &["{B}"]),
        (Other, "{I}", &["{I}"]),
        (Other, " {S} ", &["{S}"]),
        (Other, "({S})", &["{S}"]),
        (Other, "[{S}]", &["{S}"]),
        (Other, "<{S}>", &["{S}"]),
        (Other, "'{S}'", &["{S}"]),
        (Other, "\"{B}\",", &["{B}"]),
        (Other, "`{I}`", &["{I}"]),
        (Other, "“{S}”", &["{S}"]),
        (Other, "{S}.", &["{S}"]),
        (Other, "{S},{B};{I}", &["{S}", "{B}", "{I}"]),
        (Other, "{S} {S} {B}", &["{S}", "{B}"]),
        (Other, "{S}\n{B}", &["{S}", "{B}"]),
        (Chat, "Send XMR to {S}!", &["{S}"]),
        (Chat, "XMR:{B}", &["{B}"]),
        (Other, "monero:{S}?tx_amount=1", &["{S}"]),
        (Other, "https://pool.example/#/dashboard?addr={S}", &["{S}"]),
        (Other, "https://pool.example/{S}/stats", &["{S}"]),
        (Command, "./xmrig -o pool.example:3333 -u {S} -p x -k", &["{S}"]),
        (Command, "./xmrig -u {S}.worker01 -p x", &["{S}"]),
        (Command, "./xmrig -u {S}+50000 -p x", &["{S}"]),
        (Command, "./xmrig --user={B} --donate-level 1", &["{B}"]),
        (Command, "echo '{\"user\":\"{S}\",\"pass\":\"x\"}' > config.json", &["{S}"]),
        (Command, "wallet={S};./m", &["{S}"]),
        (Command, "WALLET=$(echo {B})", &["{B}"]),
        (Command, "sed -i 's/YOUR_WALLET/{S}/' config.json", &["{S}"]),
        (Other, "<code>{S}</code>", &["{S}"]),
        (Other, "{\"a\":\"{I}\"}", &["{I}"]),
        (Other, "_{S}_", &["{S}"]),
        (Other, "x-{S}-x", &["{S}"]),
        (Other, "是{S}是", &["{S}"]),
        (Other, "\\n{S}\\n", &["{S}"]),
        (Other, "\t{S}\t", &["{S}"]),
        (Other, "{S}:{I}", &["{S}", "{I}"]),
        (Other, "{S}/{B}", &["{S}", "{B}"]),
        // Glued, cut, changed, spaced.
        (Other, "x{S}", &[]),
        (Other, "{S}x", &[]),
        (Other, "4{S}", &[]),
        (Other, "{S}４", &[]),
        (Other, "４{S}", &[]),
        (Other, "{S}{S}", &[]),
        (Other, "{S}{I}", &[]),
        (Other, "{S-1}", &[]),
        (Other, "{B-1}", &[]),
        (Other, "{I-1}", &[]),
        (Other, "{S~}", &[]),
        (Other, "{B~}", &[]),
        (Other, "{I~}", &[]),
        (Other, "{Slower}", &[]),
        (Other, "{Supper}", &[]),
        (Other, "{Sspace}", &[]),
        (Other, "{Szero}", &[]),
        // Of the test and stage networks, and bytes of no network at all.
        (Other, "{test}", &[]),
        (Other, "{stage}", &[]),
        (Other, "{none}", &[]),
        (Other, "{long18}", &[]),
        (Other, "{short19}", &[]),
        // What is only as long.
        (Other, "{4x95}", &[]),
        (Other, "{8x95}", &[]),
        (Other, "{4x106}", &[]),
        (Other, "{1x95}", &[]),
        (Other, "{digits}", &[]),
        (Other, "{8x1000}", &[]),
        (Other, "4", &[]),
        (Other, "", &[]),
    ];

    #[test]
    fn a_table_of_tricky_texts() {
        let integrated = address(19, 73);
        assert_eq!((integrated.len(), address(18, 65).len()), (LEN_INTEGRATED, LEN));
        let changed = |address: &str| address[..50].to_owned() + if &address[50..51] == "9" { "8" } else { "9" } + &address[51..];
        let with = |text: &str| {
            text.replace("{S}", STANDARD)
                .replace("{B}", SUBADDRESS)
                .replace("{I}", &integrated)
                .replace("{S-1}", &STANDARD[..94])
                .replace("{B-1}", &SUBADDRESS[1..])
                .replace("{I-1}", &integrated[..105])
                .replace("{S~}", &changed(STANDARD))
                .replace("{B~}", &changed(SUBADDRESS))
                .replace("{I~}", &changed(&integrated))
                .replace("{Slower}", &STANDARD.to_lowercase())
                .replace("{Supper}", &STANDARD.to_uppercase())
                .replace("{Sspace}", &format!("{} {}", &STANDARD[..40], &STANDARD[40..]))
                .replace("{Szero}", &STANDARD.replacen('o', "0", 1))
                .replace("{test}", &address(53, 65))
                .replace("{stage}", &address(24, 65))
                .replace("{none}", &address(17, 65))
                .replace("{long18}", &address(18, 73))
                .replace("{short19}", &address(19, 65))
                .replace("{4x95}", &"4".repeat(95))
                .replace("{8x95}", &"8".repeat(95))
                .replace("{4x106}", &"4".repeat(106))
                .replace("{1x95}", &"1".repeat(95))
                .replace("{digits}", &"4815162342".repeat(10)[..95])
                .replace("{8x1000}", &"8".repeat(1000))
        };
        let texts: Vec<String> = TEXTS.iter().map(|row| with(row.1)).collect();
        let values: Vec<Vec<String>> = TEXTS.iter().map(|row| row.2.iter().map(|value| format!("xmr={}", with(value))).collect()).collect();
        let values: Vec<Vec<&str>> = values.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let rows: Vec<Row> = TEXTS.iter().enumerate().map(|(at, row)| (row.0, texts[at].as_str(), values[at].as_slice())).collect();
        check(&Xmr, 60, &rows);
    }
}
