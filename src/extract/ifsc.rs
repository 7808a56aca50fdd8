//! IFSC codes of Indian bank branches: four letters of the bank, a zero, six characters of the branch.
use super::label;
use super::runs::{ALNUM, glued_after, glued_before, past_escape, runs};
use super::{Context, Extractor, Found, Needs, Text};
use crate::events::Field;

/// IFSC codes; one entry of the registry.
pub struct Ifsc;

const LEN: usize = 11;

/// Banks' codes as the Reserve Bank of India lists them. Sorted.
const BANKS: &[&str] = &[
    "ABHY", "ABNA", "ABPB", "ADCB", "AIRP", "ALLA", "AMCB", "AMDN", "ANDB", "APBL", "APGB", "APGV", "APMC", "ASBL", "AUBL", "AUCB", "BACB",
    "BARA", "BARB", "BBKM", "BCBM", "BCEY", "BDBL", "BKDN", "BKID", "BNPA", "BOFA", "BOTM", "CBIN", "CCBL", "CHAS", "CITI", "CIUB", "CLBL",
    "CNRB", "COAS", "CORP", "COSB", "CRES", "CRUB", "CSBK", "CTBA", "DBSS", "DCBL", "DEUT", "DLSC", "DLXB", "DNSB", "DOHB", "EBIL", "ESFB",
    "ESMF", "FDRL", "FINO", "FSFB", "GBCB", "HCBL", "HDFC", "HPSC", "HSBC", "HVBK", "IBBK", "IBKL", "IBKO", "ICBK", "ICIC", "IDFB", "IDIB",
    "INDB", "IOBA", "IPOS", "JAKA", "JANA", "JASB", "JIOP", "JPCB", "JSBL", "JSBP", "JSFB", "KACE", "KAIJ", "KANG", "KARB", "KCCB", "KCUB",
    "KDCB", "KJSB", "KKBK", "KLGB", "KNSB", "KOEX", "KSCB", "KUCB", "KVBL", "KVGB", "LAVB", "MAHB", "MAHG", "MCBL", "MDBK", "MHCB", "MHLX",
    "MKPB", "MSCI", "MSHQ", "MSLM", "MSNU", "MUBL", "MVCB", "NBAD", "NESF", "NICB", "NKGS", "NMCB", "NMGB", "NNSB", "NOSC", "NSPB", "NTBL",
    "NUCB", "NVNM", "ORBC", "ORCB", "PASX", "PJSB", "PKGB", "PMCB", "PMEC", "PSIB", "PTSA", "PUCB", "PUNB", "PYTM", "QNBA", "RABO", "RATN",
    "RBIH", "RBIN", "RBIS", "RMGB", "RNSB", "RRBP", "RSBL", "RSCB", "RSSB", "SABR", "SAHE", "SANT", "SBBJ", "SBHY", "SBIN", "SBLS", "SBMY",
    "SBTR", "SCBL", "SDCB", "SDCE", "SENI", "SHBK", "SIBL", "SIDB", "SIDC", "SJSB", "SKSB", "SMBC", "SOGE", "SPCB", "SRCB", "STBP", "STCB",
    "SUNB", "SURY", "SUTB", "SVBL", "SVCB", "SVSH", "SYNB", "TBSB", "TDCB", "TGMB", "THRS", "TJSB", "TMBL", "TMSC", "TNCC", "TNSC", "TSAB",
    "TTCB", "UBIN", "UCBA", "UJVN", "UMUC", "UOVB", "UPCB", "URBN", "UTBI", "UTIB", "UTKS", "VARA", "VASJ", "VCOB", "VIJB", "VSBL", "VVSB",
    "VYSA", "WBSC", "WPAC", "YESB", "ZCBL", "ZSBL",
];

impl Extractor for Ifsc {
    fn fields(&self) -> &'static [Field] {
        &[Field::Ifsc]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.digits(1).run(11);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        for run in runs(text.plain.as_bytes(), &ALNUM, LEN) {
            let run = past_escape(text.plain.as_bytes(), run);
            let word = &text.plain[run.clone()];
            let code = word.as_bytes();
            if code.len() != LEN || code[4] != b'0' || !code[..4].iter().all(u8::is_ascii_alphabetic) {
                continue;
            }
            if glued_before(text.plain, run.start) || glued_after(text.plain, run.end) {
                continue;
            }
            let value = word.to_ascii_uppercase();
            let is_known = BANKS.binary_search(&&value[..4]).is_ok();
            let is_capital = !code.iter().any(u8::is_ascii_lowercase);
            let digits = code[5..].iter().filter(|byte| byte.is_ascii_digit()).count();
            // Known banks' branches have digits, but for a few head offices; in small letters only where people write.
            let is_plain = is_known && digits >= 4 && (is_capital || text.context == Context::Chat);
            if is_plain || is_called_so(text.plain, run.start, run.end, is_known) {
                found.add(Field::Ifsc, &value, text, run);
            }
        }
    }
}

/// Whether the words around it say that it is one.
fn is_called_so(plain: &str, start: usize, end: usize, is_known: bool) -> bool {
    let names = |word: &str| {
        ["ifsc", "ifs", "ifsccode", "rtgs", "neft", "imps"].iter().any(|known| word.eq_ignore_ascii_case(known))
            || (is_known && ["bank", "branch", "account", "a/c"].iter().any(|known| word.eq_ignore_ascii_case(known)))
    };
    label::before(plain, start).take(5).any(names) || label::after(plain, end).take(3).any(names)
}

#[cfg(test)]
mod tests {
    use super::super::Context::{Chat, Command, Other};
    use super::super::table::{Row, check};
    use super::*;

    #[test]
    fn a_table_of_tricky_texts() {
        let rows: &[Row] = &[
            (Chat, "SBIN0001234", &["ifsc=SBIN0001234"]),
            (Chat, "IFSC: SBIN0001234", &["ifsc=SBIN0001234"]),
            (Chat, "IFSC Code-HDFC0000123.", &["ifsc=HDFC0000123"]),
            (Chat, "sbin0001234", &["ifsc=SBIN0001234 «sbin0001234»"]),
            (Chat, "Sbin0001234", &["ifsc=SBIN0001234"]),
            (Chat, "(SBIN0001234)", &["ifsc=SBIN0001234"]),
            (Chat, "\"SBIN0001234\",", &["ifsc=SBIN0001234"]),
            (Chat, "[SBIN0001234]", &["ifsc=SBIN0001234"]),
            (Chat, "<td>SBIN0001234</td>", &["ifsc=SBIN0001234"]),
            (Chat, "{\"ifsc\":\"SBIN0001234\"}", &["ifsc=SBIN0001234"]),
            (Chat, "IFSC=SBIN0001234&x", &["ifsc=SBIN0001234"]),
            (Chat, "IFSC-SBIN0001234", &["ifsc=SBIN0001234"]),
            (Chat, "IFSC_SBIN0001234", &["ifsc=SBIN0001234"]),
            (Chat, "*SBIN0001234*", &["ifsc=SBIN0001234"]),
            (Chat, "SBIN0001234!", &["ifsc=SBIN0001234"]),
            (Chat, "a/c 123456789012 ifsc sbin0001234", &["ifsc=SBIN0001234"]),
            (Chat, "SBIN0001234/HDFC0000123", &["ifsc=SBIN0001234", "ifsc=HDFC0000123"]),
            (Chat, "SBIN0001234,SBIN0001234", &["ifsc=SBIN0001234"]),
            (Chat, "SBIN0001234 SBIN0005678", &["ifsc=SBIN0001234", "ifsc=SBIN0005678"]),
            (Chat, "आईएफएससी SBIN0001234 है", &["ifsc=SBIN0001234"]),
            (Chat, "कोड:SBIN0001234", &["ifsc=SBIN0001234"]),
            (Chat, "\\nSBIN0001234\\n", &["ifsc=SBIN0001234"]),
            (Chat, "SBIN0001234\n", &["ifsc=SBIN0001234"]),
            (Chat, "“SBIN0001234”", &["ifsc=SBIN0001234"]),
            (Chat, "ICIC0000001", &["ifsc=ICIC0000001"]),
            (Chat, "PUNB0123400", &["ifsc=PUNB0123400"]),
            (Chat, "UTIB0000007", &["ifsc=UTIB0000007"]),
            (Chat, "KKBK0008066", &["ifsc=KKBK0008066"]),
            (Chat, "BARB0INDORE", &[]),
            (Chat, "IFSC BARB0INDORE", &["ifsc=BARB0INDORE"]),
            (Chat, "BARB0INDORE branch", &["ifsc=BARB0INDORE"]),
            (Chat, "IFSC CODE IS CNRB0000ABC", &["ifsc=CNRB0000ABC"]),
            (Chat, "IFSC ABCD0123456", &["ifsc=ABCD0123456"]),
            (Chat, "NEFT to ABCD0123456", &["ifsc=ABCD0123456"]),
            (Chat, "ABCD0123456 (IFSC)", &["ifsc=ABCD0123456"]),
            (Other, "SBIN0001234", &["ifsc=SBIN0001234"]),
            (Other, "x SBIN0001234 y", &["ifsc=SBIN0001234"]),
            (Command, "echo SBIN0001234", &["ifsc=SBIN0001234"]),
            (Other, "ifsc sbin0001234", &["ifsc=SBIN0001234"]),
            (Chat, "YESB0000001", &["ifsc=YESB0000001"]),
            (Chat, "Bank: Union Bank, UBIN0530786", &["ifsc=UBIN0530786"]),
            (Other, "sbin0001234", &[]),
            (Command, "rm sbin0001234", &[]),
            (Chat, "ABCD0123456", &[]),
            (Other, "ABCD0123456", &[]),
            (Chat, "SBIN1001234", &[]),
            (Chat, "SBINO001234", &[]),
            (Chat, "SBIN000123", &[]),
            (Chat, "SBIN00012345", &[]),
            (Chat, "SBI00001234", &[]),
            (Chat, "SB1N0001234", &[]),
            (Chat, "xSBIN0001234", &[]),
            (Chat, "SBIN0001234x", &[]),
            (Chat, "1SBIN0001234", &[]),
            (Chat, "SBIN0001234７", &[]),
            (Chat, "SBIN 0001234", &[]),
            (Chat, "SBIN-0001234", &[]),
            (Chat, "SBIN\u{200b}0001234", &[]),
            (Chat, "IFSC SBIN000123", &[]),
            (Chat, "IFSC 12340123456", &[]),
            (Chat, "IFSC ABCDO123456", &[]),
            (Chat, "WXYZ0abcdef", &[]),
            (Chat, "password0ab", &[]),
            (Chat, "ABCDEFGHIJK", &[]),
            (Chat, "12345678901", &[]),
            (Chat, "0000000000000000", &[]),
            (Chat, "share your IFSC", &[]),
            (Chat, "ifsc", &[]),
            (Chat, "", &[]),
        ];
        check(&Ifsc, 60, rows);
    }

    #[test]
    fn the_banks_are_sorted() {
        assert!(BANKS.is_sorted() && BANKS.iter().all(|bank| bank.len() == 4));
    }
}
