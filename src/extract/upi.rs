//! UPI payment ids: `name@handle`, where the handle is a payment provider's name, not a domain.
//!
//! Known handles are enough; what is written like one but has an unknown handle is an id only in a chat that speaks of paying, since
//! swindlers make handles up. E-mail addresses have a dot after the `@`, shells and remote hosts a colon, a slash or `ssh` around it.
use super::label::{self, Label};
use super::runs::{Class, glued_before};
use super::{Context, Extractor, Found, Needs, Text};
use crate::events::Field;

/// UPI ids; one entry of the registry.
pub struct Upi;

/// Longest name and handle that are looked at, bytes.
const NAME_BYTES_MAX: usize = 64;
const HANDLE_BYTES_MAX: usize = 32;
/// Shortest name, and shortest handle that is not known.
const NAME_BYTES_MIN: usize = 2;
const UNKNOWN_HANDLE_BYTES_MIN: usize = 3;

static NAME: Class = Class::of(&[(b'0', b'9'), (b'a', b'z'), (b'A', b'Z'), (b'.', b'.'), (b'_', b'_'), (b'-', b'-')]);

/// Handles that are nothing but handles: found anywhere. Sorted.
const HANDLES: &[&str] = &[
    "abcdicici",
    "abfspay",
    "airtelpaymentsbank",
    "amazonpay",
    "apl",
    "aubank",
    "axisb",
    "axisbank",
    "axisgo",
    "axl",
    "barodampay",
    "barodapay",
    "bhimupi",
    "cmsidfc",
    "cnrb",
    "csbpay",
    "dbsbank",
    "eazypay",
    "equitas",
    "ezeepay",
    "fifederal",
    "finobank",
    "freecharge",
    "goaxb",
    "hdfcbank",
    "hdfcbankjd",
    "ibl",
    "icicibank",
    "icicipay",
    "idbibank",
    "idfcbank",
    "idfcfirst",
    "idfcnetc",
    "ikwik",
    "indianbank",
    "indusind",
    "inhdfc",
    "jupiteraxis",
    "kaypay",
    "kbaxis",
    "kotak",
    "kphdfc",
    "mahb",
    "mairtel",
    "myicici",
    "naviaxis",
    "niyoicici",
    "okaxis",
    "okhdfcbank",
    "okicici",
    "oksbi",
    "oneyes",
    "oxymoney",
    "paytm",
    "payzapp",
    "pingpay",
    "pockets",
    "ptaxis",
    "pthdfc",
    "ptsbi",
    "ptyes",
    "rapl",
    "rbl",
    "rmhdfcbank",
    "s2b",
    "shriramhdfcbank",
    "sliceaxis",
    "superyes",
    "tapicici",
    "timecosmos",
    "tmb",
    "uboi",
    "unionbank",
    "unionbankofindia",
    "upi",
    "utbi",
    "utkarshbank",
    "waaxis",
    "wahdfcbank",
    "waicici",
    "wasbi",
    "yapl",
    "ybl",
    "yesbank",
    "yesbankltd",
    "yesg",
    "yespay",
    "yespop",
    "yestransact",
    "zoicici",
];

/// Handles that are words or short names too: believed in a chat. Sorted.
const HANDLES_IN_CHAT: &[&str] = &[
    "airtel",
    "allbank",
    "andb",
    "apb",
    "au",
    "axis",
    "bandhan",
    "boi",
    "cboi",
    "centralbank",
    "citi",
    "citigold",
    "cub",
    "dbs",
    "dcb",
    "dlb",
    "esaf",
    "fam",
    "famapp",
    "fbl",
    "federal",
    "hsbc",
    "icici",
    "idbi",
    "idfc",
    "imobile",
    "indus",
    "iob",
    "jio",
    "jkb",
    "jsb",
    "karb",
    "kbl",
    "kmb",
    "kmbl",
    "kvb",
    "lvb",
    "myaxis",
    "nsdl",
    "obc",
    "okhdfc",
    "okkotak",
    "okyes",
    "payu",
    "pnb",
    "postbank",
    "psb",
    "sbi",
    "sc",
    "scb",
    "scbl",
    "sib",
    "slc",
    "srcb",
    "synd",
    "syndbank",
    "tjsb",
    "trans",
    "ubi",
    "uco",
    "united",
    "vijb",
    "yes",
];

/// What stands after an `@` without a dot and is no handle: hosts, and mail providers named without their domain.
const NO_HANDLES: &[&str] = &[
    "admin",
    "all",
    "channel",
    "debian",
    "email",
    "everyone",
    "facebook",
    "gmail",
    "here",
    "home",
    "host",
    "hotmail",
    "icloud",
    "instagram",
    "kali",
    "live",
    "local",
    "localhost",
    "mail",
    "outlook",
    "rediff",
    "rediffmail",
    "root",
    "server",
    "svr",
    "telegram",
    "twitter",
    "ubuntu",
    "yahoo",
    "youtube",
];

impl Extractor for Upi {
    fn fields(&self) -> &'static [Field] {
        &[Field::Upi]
    }

    fn needs(&self) -> &'static Needs {
        // `%40` is the sign in a link.
        const NEEDS: Needs = Needs::NOTHING.one_of(b"@%");
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        let bytes = text.plain.as_bytes();
        let mut speaks_of_upi = None;
        for at in memchr::memchr_iter(b'@', bytes) {
            let handle_len = bytes[at + 1..].iter().take(HANDLE_BYTES_MAX + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let name_len = bytes[..at].iter().rev().take(NAME_BYTES_MAX + 1).take_while(|&&byte| NAME.has(byte)).count();
            if handle_len > HANDLE_BYTES_MAX || name_len > NAME_BYTES_MAX || handle_len < 2 {
                continue;
            }
            let written = text.plain[at - name_len..at].trim_start_matches(['.', '_', '-']);
            let (start, end) = (at - written.len(), at + 1 + handle_len);
            if written.len() < NAME_BYTES_MIN || written.ends_with(['.', '-']) || is_glued(text.plain, start) {
                continue;
            }
            let value = text.plain[start..end].to_ascii_lowercase();
            let (name, handle) = value.split_at(at - start);
            let handle = &handle[1..];
            let is_known = HANDLES.binary_search(&handle).is_ok();
            if !ends_here(bytes, end, is_known) {
                continue;
            }
            let is_handle = match text.context {
                Context::Chat => {
                    is_known
                        || HANDLES_IN_CHAT.binary_search(&handle).is_ok()
                        || (could_be_made_up(name, handle)
                            && (*speaks_of_upi.get_or_insert_with(|| mentions_upi(bytes)) || is_about_paying(text.plain, start, end)))
                }
                Context::Command => is_known && !is_login(text.plain, start),
                _ => is_known,
            };
            if is_handle {
                found.add(Field::Upi, &value, text, start..end);
            }
        }
    }
}

/// Whether what stands before the name belongs to it, or makes it something else: `a+b@ybl`, `//user@host`, `@a@b`.
fn is_glued(plain: &str, start: usize) -> bool {
    glued_before(plain, start) || plain[..start].ends_with(['@', '+', '%', '~', '$', '\\']) || plain[..start].ends_with("//")
}

/// Whether the id ends at `end`: no domain, path, port or another `@` follows.
fn ends_here(bytes: &[u8], end: usize, is_known: bool) -> bool {
    match (bytes.get(end), bytes.get(end + 1)) {
        (Some(b'@' | b'/' | b'_' | b'\\' | b'%'), _) => false,
        (Some(b'.'), Some(next)) if next.is_ascii_alphanumeric() => {
            // A sentence without a space after it, when the handle leaves no doubt: `x@okaxis.Call now`.
            is_known && next.is_ascii_uppercase() && bytes.get(end + 2).is_none_or(|next| !next.is_ascii_uppercase())
        }
        (Some(b'-' | b':'), Some(next)) => !next.is_ascii_alphanumeric() && !matches!(next, b'~' | b'/' | b'.'),
        _ => true,
    }
}

/// Whether a name and an unknown handle could be an id.
fn could_be_made_up(name: &str, handle: &str) -> bool {
    handle.len() >= UNKNOWN_HANDLE_BYTES_MIN
        && handle.bytes().all(|byte| byte.is_ascii_lowercase())
        && name.len() > NAME_BYTES_MIN
        && NO_HANDLES.binary_search(&handle).is_err()
}

/// Whether the word "UPI" stands anywhere in the text.
fn mentions_upi(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'u', b'U', bytes).any(|at| {
        bytes.get(at..at + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"upi"))
            && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric())
            && bytes.get(at + 3).is_none_or(|next| !next.is_ascii_lowercase() || bytes[at + 3..].starts_with(b"id"))
    })
}

/// Whether the words around the id speak of paying.
fn is_about_paying(plain: &str, start: usize, end: usize) -> bool {
    let speaks = |word: &str| {
        matches!(Label::of(word), Some(Label::Upi | Label::Amount))
            || ["pay", "paid", "payment", "send", "transfer", "gpay", "phonepe", "googlepay", "bhejo", "bhejiye", "deposit", "भेजो", "भेजें"]
                .iter()
                .any(|known| word.eq_ignore_ascii_case(known))
    };
    label::before(plain, start).any(speaks) || label::after(plain, end).take(4).any(speaks)
}

/// Whether a command logs in or copies to it.
fn is_login(plain: &str, start: usize) -> bool {
    label::before(plain, start).any(|word| {
        ["ssh", "scp", "sftp", "rsync", "sshpass", "telnet", "rlogin", "mosh"].iter().any(|known| word.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Context::{Chat, Command, Other};
    use super::super::table::{Row, check};
    use super::*;

    #[test]
    fn a_table_of_tricky_texts() {
        let rows: &[Row] = &[
            (Chat, "winner@okaxis", &["upi=winner@okaxis"]),
            (Chat, "UPI: winner@okaxis", &["upi=winner@okaxis"]),
            (Chat, "Send to kbc-verify@paytm", &["upi=kbc-verify@paytm"]),
            (Chat, "Pay to electric-pay@ybl before cutoff.", &["upi=electric-pay@ybl"]),
            (Chat, "winner@okaxis.", &["upi=winner@okaxis"]),
            (Chat, "winner@okaxis.Call now", &["upi=winner@okaxis"]),
            (Chat, "winner@okaxis, now", &["upi=winner@okaxis"]),
            (Chat, "winner@okaxis!", &["upi=winner@okaxis"]),
            (Chat, "(winner@okaxis)", &["upi=winner@okaxis"]),
            (Chat, "\"winner@okaxis\"", &["upi=winner@okaxis"]),
            (Chat, "<b>winner@okaxis</b>", &["upi=winner@okaxis"]),
            (Chat, "{\"vpa\":\"winner@okaxis\"}", &["upi=winner@okaxis"]),
            (Chat, "*winner@okaxis*", &["upi=winner@okaxis"]),
            (Chat, "_winner@okaxis_ x", &[]),
            (Chat, "...winner@okaxis...", &["upi=winner@okaxis"]),
            (Chat, "-winner@okaxis-", &["upi=winner@okaxis"]),
            (Chat, "upi://pay?pa=winner@okaxis&pn=X", &["upi=winner@okaxis"]),
            (Chat, "Winner@OkAxis", &["upi=winner@okaxis «Winner@OkAxis»"]),
            (Chat, "WINNER@YBL", &["upi=winner@ybl"]),
            (Chat, "9876543210@ybl", &["upi=9876543210@ybl"]),
            (Chat, "a.b_c-d@ibl", &["upi=a.b_c-d@ibl"]),
            (Chat, "x1@upi", &["upi=x1@upi"]),
            (Chat, "jobs@okaxis and jobs@okicici", &["upi=jobs@okaxis", "upi=jobs@okicici"]),
            (Chat, "jobs@okaxis jobs@okaxis JOBS@okaxis", &["upi=jobs@okaxis"]),
            (Chat, "jobs@okaxis/jobs@okicici", &["upi=jobs@okicici"]),
            (Chat, "shop@sbi", &["upi=shop@sbi"]),
            (Chat, "shop@axl", &["upi=shop@axl"]),
            (Chat, "UPI: scammer.fraud@fakebank. This is mandatory", &["upi=scammer.fraud@fakebank"]),
            (Chat, "Send Rs.10 to cashback.scam@fakeupi immediately", &["upi=cashback.scam@fakeupi"]),
            (Chat, "Pay Rs.500 to hr.recruiter@fakeupi or account 98", &["upi=hr.recruiter@fakeupi"]),
            (Chat, "lottery.claim@fakepay UPI for faster processing", &["upi=lottery.claim@fakepay"]),
            (Chat, "Pay to pensionarrears@okhdfc before 5pm", &["upi=pensionarrears@okhdfc"]),
            (Chat, "my upi is abc@madeup", &["upi=abc@madeup"]),
            (Chat, "abc@madeup is my UPI ID for the whole family and everybody else who lives here", &["upi=abc@madeup"]),
            (Chat, "bank.update@okicici pe bhejo", &["upi=bank.update@okicici"]),
            (Chat, "GPay abc@madeup", &["upi=abc@madeup"]),
            (Chat, "VPA abc@madeup", &["upi=abc@madeup"]),
            (Chat, "यूपीआई winner@okaxis पर भेजें", &["upi=winner@okaxis"]),
            (Chat, "भेजें winner@okaxis", &["upi=winner@okaxis"]),
            (Other, "winner@okaxis", &["upi=winner@okaxis"]),
            (Other, "{\"a\":\"shop@ybl\"}", &["upi=shop@ybl"]),
            (Command, "echo winner@okaxis", &["upi=winner@okaxis"]),
            (Command, "ssh winner@okaxis", &[]),
            (Command, "scp x winner@okaxis:", &[]),
            (Command, "scp x winner@okaxis:/tmp", &[]),
            (Command, "ssh root@paytm ls", &[]),
            (Command, "pay root@madeup upi", &[]),
            (Other, "root@sbi", &[]),
            (Other, "P@ssword!0", &[]),
            (Other, "1qaz@wsx", &[]),
            (Other, "pay upi abc@madeup", &[]),
            (Chat, "see you abc@madeup tomorrow", &[]),
            (Chat, "offers@fake-amazon-deals.com", &[]),
            (Chat, "pay UPI offers@fakebank.com", &[]),
            (Chat, "pay UPI offers@fakebank.co.in", &[]),
            (Chat, "winner@okaxis.com", &[]),
            (Chat, "winner@okaxis.COM", &[]),
            (Chat, "winner@hdfcbank.net", &[]),
            (Chat, "winner@paytm.in", &[]),
            (Chat, "UPI me@gmail", &[]),
            (Chat, "UPI abc@localhost", &[]),
            (Chat, "pay abc@yahoo now", &[]),
            (Chat, "@okaxis", &[]),
            (Chat, "winner@", &[]),
            (Chat, "winner @okaxis", &[]),
            (Chat, "winner@ okaxis", &[]),
            (Chat, "w@okaxis", &[]),
            (Chat, "a+b@okaxis", &[]),
            (Chat, "pay a@b@okaxis", &[]),
            (Chat, "abc@okaxis@ybl", &[]),
            (Chat, "http://winner@okaxis/", &[]),
            (Chat, "//winner@okaxis", &[]),
            (Chat, "winner@okaxis/x", &[]),
            (Chat, "winner@okaxis-bank.example", &[]),
            (Chat, "UPI abc@made1up", &[]),
            (Chat, "UPI ab@madeup", &[]),
            (Chat, "UPI abc@xy", &[]),
            (Chat, "winner\u{200b}@okaxis", &[]),
            (Chat, "winner.@okaxis", &[]),
            (Chat, "pay @everyone upi", &[]),
            (Chat, "@@@@@@", &[]),
            (Chat, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@okaxis", &[]),
            (Chat, "abc@xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", &[]),
            (Chat, "", &[]),
        ];
        check(&Upi, 60, rows);
    }

    #[test]
    fn lists_are_sorted() {
        assert!([HANDLES, HANDLES_IN_CHAT, NO_HANDLES].iter().all(|list| list.is_sorted()));
    }
}
