//! What the words around a number say it is: digits alone do not tell a phone number from an account, an order or an amount.
//!
//! The nearest word that means anything decides. Words are looked at within a fixed number of bytes, so that a text of nothing but
//! numbers still takes time linear in its length.

/// How far words are looked for, bytes.
const WINDOW_BYTES: usize = 64;
/// Longest word that is looked up, bytes.
const WORD_BYTES_MAX: usize = 24;

/// What a word makes of the number beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Something to call or to write to.
    Phone,
    /// A bank account, in so many words.
    Account,
    /// Something of a bank's or of moving money.
    Bank,
    /// Some other number: an order, a reference, an identity document, a card.
    Other,
    /// Money.
    Amount,
    /// UPI, by name or by the name of an application for it.
    Upi,
}

impl Label {
    /// What one word means, whatever its case.
    pub fn of(word: &str) -> Option<Label> {
        let mut lower = [0; WORD_BYTES_MAX];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        Some(match std::str::from_utf8(lower).ok()? {
            "call"
            | "calls"
            | "calling"
            | "contact"
            | "contacts"
            | "phone"
            | "ph"
            | "phn"
            | "fone"
            | "mobile"
            | "mob"
            | "cell"
            | "tel"
            | "telephone"
            | "whatsapp"
            | "whatsap"
            | "watsapp"
            | "wa"
            | "wapp"
            | "dial"
            | "helpline"
            | "hotline"
            | "helpdesk"
            | "sms"
            | "msg"
            | "message"
            | "text"
            | "ring"
            | "reach"
            | "tollfree"
            | "toll"
            | "landline"
            | "fax"
            | "viber"
            | "imo"
            | "signal"
            | "missedcall"
            | "phonenumber"
            | "mobilenumber"
            | "phoneno"
            | "mobileno"
            | "gpay"
            | "phonepe"
            | "कॉल"
            | "फोन"
            | "फ़ोन"
            | "मोबाइल"
            | "व्हाट्सएप"
            | "संपर्क"
            | "டயல்"
            | "ফোন" => Label::Phone,
            "account" | "accounts" | "acct" | "acc" | "ac" | "a/c" | "accno" | "acno" | "acctno" | "accountno" | "accountnumber"
            | "khata" | "khaata" | "khate" | "खाता" | "खाते" | "iban" => Label::Account,
            "bank" | "transfer" | "transferred" | "deposit" | "deposited" | "beneficiary" | "neft" | "rtgs" | "imps" | "ifsc" | "ifs"
            | "micr" | "swift" | "remit" | "remittance" | "wire" | "branch" | "savings" | "saving" | "बैंक" | "sbi" | "hdfc" | "icici"
            | "axis" | "pnb" | "kotak" | "canara" | "boi" | "bob" | "idfc" | "payee" => Label::Bank,
            "order" | "orders" | "id" | "ids" | "ref" | "reference" | "txn" | "txnid" | "transaction" | "utr" | "rrn" | "arn" | "awb"
            | "tracking" | "track" | "parcel" | "shipment" | "consignment" | "docket" | "invoice" | "bill" | "receipt" | "otp" | "pin"
            | "tpin" | "mpin" | "code" | "password" | "passcode" | "aadhaar" | "aadhar" | "adhar" | "adhaar" | "uid" | "uidai" | "pan"
            | "uan" | "epf" | "epic" | "ssn" | "passport" | "imei" | "imsi" | "serial" | "sr" | "sn" | "version" | "ver" | "build"
            | "card" | "cards" | "debit" | "credit" | "cvv" | "case" | "fir" | "complaint" | "ticket" | "token" | "policy" | "consumer"
            | "customer" | "meter" | "connection" | "pnr" | "epoch" | "timestamp" | "time" | "seq" | "sequence" | "session" | "pid"
            | "roll" | "registration" | "application" | "enrollment" | "enrolment" | "license" | "licence" | "vehicle" | "challan"
            | "gst" | "gstin" | "cin" | "hash" | "isbn" | "barcode" | "sku" | "voucher" | "coupon" | "lottery" | "batch" | "lot"
            | "ticketid" | "orderid" | "date" | "dob" | "आधार" => Label::Other,
            "rs" | "inr" | "rupees" | "rupee" | "usd" | "eur" | "amount" | "amt" | "balance" | "price" | "cost" | "fee" | "fees"
            | "fine" | "₹" | "रुपये" => Label::Amount,
            "upi" | "upiid" | "vpa" | "bhim" | "paytm" => Label::Upi,
            _ => return None,
        })
    }
}

/// The words before `at`, nearest first.
pub fn before(text: &str, at: usize) -> impl Iterator<Item = &str> {
    let mut from = at.saturating_sub(WINDOW_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let mut rest = &text[from..at];
    std::iter::from_fn(move || {
        rest = rest.trim_end_matches(|one| !is_of_word(one));
        let mut start = rest.trim_end_matches(is_of_word).len();
        // `a/c` is one word.
        if rest[start..].eq_ignore_ascii_case("c") {
            let head = &rest.as_bytes()[..start];
            if head.len() >= 2 && head.ends_with(b"/") && head[head.len() - 2].eq_ignore_ascii_case(&b'a') {
                start -= 2;
            }
        }
        let word = &rest[start..];
        rest = &rest[..start];
        (!word.is_empty()).then_some(word)
    })
}

/// The words from `at` on, nearest first.
pub fn after(text: &str, at: usize) -> impl Iterator<Item = &str> {
    let mut end = (at + WINDOW_BYTES).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut rest = &text[at..end];
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|one| !is_of_word(one));
        let mut len = rest.len() - rest.trim_start_matches(is_of_word).len();
        if rest.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("a/c")) {
            len = len.max(3);
        }
        let (word, next) = rest.split_at(len);
        rest = next;
        (!word.is_empty()).then_some(word)
    })
}

/// The nearest of some words that means anything, and how many words away it is (0: the next one). Words of money say something
/// only of the number beside them: "transfer the fee to" speaks of an account.
pub fn nearest<'a>(words: impl Iterator<Item = &'a str>) -> Option<(Label, usize)> {
    let label = |distance, word| Label::of(word).filter(|&label| distance == 0 || label != Label::Amount);
    words.enumerate().find_map(|(distance, word)| Some((label(distance, word)?, distance)))
}

/// Letters and digits of all scripts, with the signs that Indian scripts put between letters; and the sign of the rupee, which
/// stands where a word would.
fn is_of_word(one: char) -> bool {
    one.is_alphanumeric() || matches!(one, '\u{900}'..='\u{dff}' | '₹')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_nearest_first_and_not_from_far_away() {
        let text = "Pay to a/c no. 12";
        assert_eq!(before(text, 15).collect::<Vec<_>>(), ["no", "a/c", "to", "Pay"]);
        assert_eq!(after("12 (A/C of खाता-नंबर)", 2).collect::<Vec<_>>(), ["A/C", "of", "खाता", "नंबर"]);
        assert_eq!(after("", 0).count() + before("", 0).count() + before(" /c", 3).count(), 1);
        let long = "é".repeat(100);
        assert_eq!(before(&long, 200).next().map(str::len), Some(64));
        assert_eq!(after(&long, 1 << 1).next().map(str::len), Some(64));
    }

    #[test]
    fn the_nearest_meaningful_word_decides() {
        for (text, label) in [
            ("account number ", Some((Label::Account, 1))),
            ("your order is late, call ", Some((Label::Phone, 0))),
            ("Order ID: ", Some((Label::Other, 0))),
            ("from your SBI A/C ", Some((Label::Account, 0))),
            ("खाता संख्या ", Some((Label::Account, 1))),
            ("please send it to ", None),
            ("transfer the fee to ", Some((Label::Bank, 3))),
            ("Rs.", Some((Label::Amount, 0))),
            ("₹", Some((Label::Amount, 0))),
        ] {
            assert_eq!(nearest(before(text, text.len())), label, "{text}");
        }
    }
}
