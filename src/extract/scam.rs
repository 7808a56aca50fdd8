//! Is this talk a scam, and of what kind: rules with weights, each with the words it was found by.
//!
//! What the honeypot itself said counts for nothing: only its counterpart's messages are looked at. No single rule confirms a talk; a
//! pretext, a demand and pressure together do. One pass of one automaton finds all phrases ([`super::scam_phrases`]); a demand is a verb
//! and its object in one sentence, unless a negation stands before it: a bank that says "never share your OTP" asks for nothing.
use super::scam_phrases::{ASKING, ASKING_BEHIND, ENDINGS, GROUPS, Kind, MONEY, NEGATIONS, PAYING, Rule, SECRETS};
use super::{Context, Extractor, Found, Indicator, TEXT_BYTES_MAX, Text, indicators};
use crate::events::chat::Message;
use crate::events::{Field, Micros};
use crate::telemetry::printable::prefix;
use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// A talk with this score is a scam.
pub const CONFIRMED_SCORE: u8 = 50;
/// Most indicators kept of one talk.
pub const INDICATORS_MAX: usize = 512;
/// Most keywords kept of one talk.
pub const KEYWORDS_MAX: usize = 64;
/// What a pretext is worth at most, however many are used: honest talk has subjects, too.
const PRETEXT_SCORE_MAX: i16 = 30;
/// Phrases shown per reason.
const EVIDENCE_MAX: usize = 3;
/// Between a verb and its object.
const DEMAND_BYTES_MAX: usize = 60;
/// The same where the verb comes last.
const DEMAND_BEHIND_BYTES_MAX: usize = 16;
/// Goodbyes are short: whoever goes on talking means something else.
const GOODBYE_BYTES_MAX: usize = 120;
/// Between a negation and the verb it turns around.
const NEGATION_BYTES_MAX: usize = 16;

/// What a chat message is about: the words that scams use, and their kind.
pub struct Words;

impl Extractor for Words {
    fn fields(&self) -> &'static [Field] {
        &[Field::Keyword, Field::ScamType]
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        if text.context == Context::Chat {
            let marks = marks(text.plain);
            marks.keywords.into_iter().for_each(|keyword| found.name(Field::Keyword, keyword));
            marks.kind.into_iter().for_each(|kind| found.name(Field::ScamType, kind));
        }
    }
}

/// Where a talk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// Known to be a scam, and going on.
    Confirmed,
    /// Somebody said so.
    Ended,
    /// Nothing came for long.
    Quiet,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Confirmed => "confirmed",
            State::Ended => "ended",
            State::Quiet => "quiet",
        }
    }
}

/// Why a talk has its score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub rule: Cow<'static, str>,
    /// Points it added; those of honest talk are negative.
    pub weight: i16,
    /// The words it was found by.
    pub evidence: String,
}

/// What a talk was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// 0 to 100.
    pub score: u8,
    pub reasons: Vec<Reason>,
    /// `None` when it is about nothing known.
    pub kind: Option<String>,
    /// In the order in which they were first used.
    pub keywords: Vec<&'static str>,
    /// Of the counterpart's messages, each once.
    pub indicators: Vec<Indicator>,
    /// Somebody said goodbye.
    pub ended: bool,
    /// Messages, of both sides.
    pub messages: usize,
    /// When the first and the last message were sent, as far as they say so.
    pub began: Option<Micros>,
    pub last: Option<Micros>,
    /// `rules`, or `model:NAME`.
    pub scored_by: String,
}

impl Assessment {
    /// It is a scam.
    pub fn confirmed(&self) -> bool {
        self.score >= CONFIRMED_SCORE
    }

    /// `quiet`: nothing came for as long as is configured.
    pub fn state(&self, quiet: bool) -> State {
        match (self.ended, quiet, self.confirmed()) {
            (true, _, _) => State::Ended,
            (_, true, _) => State::Quiet,
            (_, _, true) => State::Confirmed,
            _ => State::Open,
        }
    }
}

/// What a talk can be about: the names that [`Assessment::kind`] takes by the rules.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    Kind::ALL.iter().map(|kind| kind.name())
}

/// Assesses a talk by the rules, from its messages in their order.
pub fn assess(messages: &[Message]) -> Assessment {
    let mut fired: HashMap<Rule, Vec<&'static str>> = HashMap::new();
    let mut links = Vec::new();
    let mut kinds = [0u32; Kind::ALL.len()];
    let mut assessment = Assessment { messages: messages.len(), scored_by: "rules".into(), ..Assessment::default() };
    let mut known = HashSet::new();
    let nobody_else = messages.iter().all(|message| is_own(&message.sender));
    let mut counterparts = messages.iter().filter(|message| nobody_else || !is_own(&message.sender)).peekable();
    let mut first = true;
    while let Some(message) = counterparts.next() {
        let text = plain(&message.text);
        let hits = LEXICON.find(&text);
        for (rule, phrase) in LEXICON.rules(&text, &hits) {
            let phrases = fired.entry(rule).or_default();
            if phrases.len() < EVIDENCE_MAX && !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
        for keyword in LEXICON.keywords(&hits) {
            if assessment.keywords.len() < KEYWORDS_MAX && !assessment.keywords.contains(&keyword) {
                assessment.keywords.push(keyword);
            }
        }
        // What a talk is about is said at once; later everything is mentioned.
        LEXICON.add_kinds(&hits, if first { 3 } else { 1 }, &mut kinds);
        first = false;
        if counterparts.peek().is_none() {
            assessment.ended = LEXICON.is_ending(&text, &hits);
        }
        let mut named_payee = false;
        let mut found = Found::default();
        indicators(Context::Chat, &message.text, &mut found);
        for indicator in found.indicators.into_iter().filter(|found| !matches!(found.field, Field::Keyword | Field::ScamType)) {
            match indicator.field {
                Field::Upi | Field::BankAccount | Field::Btc | Field::Eth => {
                    fired.entry(Rule::Payee).or_default();
                    named_payee = true;
                }
                Field::Url | Field::Domain if is_suspicious(&indicator.value) && links.len() < EVIDENCE_MAX => {
                    links.push(prefix(&indicator.value, 120).to_owned());
                }
                _ => {}
            }
            let written = indicator.verbatim.as_deref().unwrap_or(&indicator.value);
            if assessment.indicators.len() < INDICATORS_MAX && known.insert((indicator.field, written.to_owned())) {
                assessment.indicators.push(indicator);
            }
        }
        // "Pay to lucky@bank" asks for money without naming a sum.
        if named_payee && let Some(verb) = LEXICON.paying(&hits) {
            let phrases = fired.entry(Rule::PaymentRequest).or_default();
            if phrases.is_empty() {
                phrases.push(verb);
            }
        }
    }
    // Either side may say goodbye.
    if let Some(last) = messages.last()
        && is_own(&last.sender)
    {
        assessment.ended |= is_goodbye(&last.text);
    }
    if !links.is_empty() {
        fired.entry(Rule::SuspiciousLink).or_default();
    }
    let times = || messages.iter().filter_map(|message| message.time);
    (assessment.began, assessment.last) = (times().min(), times().max());
    assessment.score = score(fired.keys().copied());
    assessment.kind = (assessment.score >= 20).then(|| kind(&kinds, &fired)).flatten().map(|kind| kind.name().to_owned());
    let mut rules: Vec<_> = fired.into_iter().collect();
    rules.sort_by_key(|(rule, _)| (std::cmp::Reverse(rule.weight()), *rule));
    assessment.reasons = rules
        .into_iter()
        .map(|(rule, phrases)| Reason {
            rule: rule.name().into(),
            weight: rule.weight(),
            evidence: match rule {
                Rule::SuspiciousLink => links.join(", "),
                Rule::Payee => payees(&assessment.indicators),
                _ => phrases.join(", "),
            },
        })
        .collect();
    assessment
}

/// What one message gives to the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Each once, in the order of the text.
    pub keywords: Vec<&'static str>,
    pub kind: Option<&'static str>,
}

/// Keywords and kind of one message, in one pass.
pub fn marks(text: &str) -> Marks {
    let text = plain(text);
    let hits = LEXICON.find(&text);
    if hits.is_empty() {
        return Marks::default();
    }
    let mut marks = Marks::default();
    for keyword in LEXICON.keywords(&hits) {
        if marks.keywords.len() < KEYWORDS_MAX && !marks.keywords.contains(&keyword) {
            marks.keywords.push(keyword);
        }
    }
    let mut kinds = [0; Kind::ALL.len()];
    LEXICON.add_kinds(&hits, 1, &mut kinds);
    let fired: HashMap<Rule, Vec<&'static str>> = LEXICON.rules(&text, &hits).map(|(rule, _)| (rule, Vec::new())).collect();
    // One word makes no scam.
    if score(fired.keys().copied()) >= 20 {
        marks.kind = kind(&kinds, &fired).map(Kind::name);
    }
    marks
}

/// Words in this message that scams use, each once.
pub fn keywords(text: &str) -> impl Iterator<Item = &'static str> {
    marks(text).keywords.into_iter()
}

/// The kind of scam this message by itself belongs to.
pub fn scam_type(text: &str) -> Option<&'static str> {
    marks(text).kind
}

/// Whether a message ends a talk, if it is the last one.
pub fn is_goodbye(text: &str) -> bool {
    if text.len() > 4 * GOODBYE_BYTES_MAX {
        return false;
    }
    let text = plain(text);
    LEXICON.is_ending(&text, &LEXICON.find(&text))
}

/// Whether a message is the honeypot's own.
pub fn is_own(sender: &str) -> bool {
    ["user", "agent", "assistant", "honeypot", "bot", "victim", "me"].iter().any(|own| sender.eq_ignore_ascii_case(own))
}

fn score(rules: impl Iterator<Item = Rule>) -> u8 {
    let (mut pretext, mut rest, mut friendly) = (0, 0, true);
    for rule in rules {
        if is_pretext(rule) {
            pretext += rule.weight()
        } else {
            rest += rule.weight()
        }
        friendly &= matches!(rule, Rule::PaymentRequest | Rule::Payee | Rule::Urgency | Rule::Callback);
    }
    let score = (pretext.min(PRETEXT_SCORE_MAX) + rest).clamp(0, 100) as u8;
    // Money, soon, and where to: friends ask for that as well. A scam has a story, a threat or something to hide.
    if friendly { score.min(CONFIRMED_SCORE - 1) } else { score }
}

fn is_pretext(rule: Rule) -> bool {
    use Rule::*;
    matches!(
        rule,
        Prize
            | Job
            | Investment
            | Romance
            | Emergency
            | TechSupport
            | Refund
            | Kyc
            | Parcel
            | Loan
            | Benefit
            | Dues
            | Offer
            | TooGood
            | Authority
    )
}

/// The kind with the most points; without any, what the demands say.
fn kind(points: &[u32; Kind::ALL.len()], fired: &HashMap<Rule, Vec<&'static str>>) -> Option<Kind> {
    let most = *points.iter().max()?;
    // One mention in passing is no subject.
    if most >= 3 {
        return Kind::ALL.iter().zip(points).find(|(_, points)| **points == most).map(|(kind, _)| *kind);
    }
    let of_demand = [(Rule::SuspiciousLink, Kind::Phishing), (Rule::CredentialRequest, Kind::Otp), (Rule::Payee, Kind::Upi)];
    of_demand.into_iter().find(|(rule, _)| fired.contains_key(rule)).map(|(_, kind)| kind)
}

fn payees(indicators: &[Indicator]) -> String {
    let payees = indicators.iter().filter(|indicator| matches!(indicator.field, Field::Upi | Field::BankAccount | Field::Btc | Field::Eth));
    payees.take(EVIDENCE_MAX).map(|payee| prefix(payee.verbatim.as_deref().unwrap_or(&payee.value), 80)).collect::<Vec<_>>().join(", ")
}

/// Whether an address is of the kinds that phishing uses.
fn is_suspicious(link: &str) -> bool {
    const CHEAP: &[&str] = &[
        "tk", "ml", "ga", "cf", "gq", "xyz", "top", "icu", "buzz", "click", "live", "cyou", "rest", "monster", "online", "site", "club",
        "shop", "vip", "work", "loan", "win", "bid", "apk",
    ];
    const SHORTENERS: &[&str] =
        &["bit.ly", "tinyurl.com", "is.gd", "cutt.ly", "t.me", "rb.gy", "shorturl.at", "wa.me", "goo.gl", "rebrand.ly"];
    const BAIT: &[&str] = &[
        "kyc", "verify", "update", "claim", "refund", "reward", "secure", "login", "pay", "bonus", "prize", "fake", "lottery", "bank",
        "bill", "loan", "profit",
    ];
    let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = host.rsplit('@').next().unwrap_or(host).split(':').next().unwrap_or("").to_ascii_lowercase();
    let label = host.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let path_is_app = rest.split(['?', '#']).next().is_some_and(|path| path.to_ascii_lowercase().ends_with(".apk"));
    CHEAP.contains(&label)
        || path_is_app
        || SHORTENERS.contains(&host.as_str())
        || host.split('.').any(|label| label.starts_with("xn--"))
        || host.parse::<std::net::Ipv4Addr>().is_ok()
        || (host.contains('-') && BAIT.iter().any(|bait| host.contains(bait)))
}

/// The text in lower case (ASCII), with single spaces and straight apostrophes.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_BYTES_MAX));
    for c in prefix(text, TEXT_BYTES_MAX).chars() {
        match c {
            '\u{200b}'..='\u{200d}' | '\u{feff}' | '\u{ad}' | '*' | '_' => {}
            '\n' | '\r' => {
                if !out.ends_with('\n') {
                    out.push('\n');
                }
            }
            c if c.is_whitespace() => {
                if !out.ends_with([' ', '\n']) {
                    out.push(' ');
                }
            }
            '\u{2018}' | '\u{2019}' | '\u{ff07}' => out.push('\''),
            '\u{ff01}'..='\u{ff5e}' => out.push(char::from((u32::from(c) - 0xff01 + 0x21) as u8).to_ascii_lowercase()),
            c => out.push(c.to_ascii_lowercase()),
        }
    }
    out
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::new);

struct Lexicon {
    automaton: AhoCorasick,
    /// What each pattern means.
    meanings: Vec<Meaning>,
}

#[derive(Default)]
struct Meaning {
    phrase: &'static str,
    /// Numbers of [`GROUPS`].
    groups: Vec<usize>,
    roles: u8,
}

const ASKS: u8 = 1;
const ASKS_BEHIND: u8 = 2;
const SECRET: u8 = 4;
const PAYS: u8 = 8;
const MONEYS: u8 = 16;
const NEGATES: u8 = 32;
const ENDS: u8 = 64;

/// A phrase in a text.
#[derive(Clone, Copy)]
struct Hit {
    start: usize,
    end: usize,
    meaning: usize,
}

impl Lexicon {
    fn new() -> Lexicon {
        let mut meanings: Vec<Meaning> = Vec::new();
        let mut numbers = HashMap::new();
        let mut meaning_of = |phrase: &'static str| -> usize {
            *numbers.entry(phrase).or_insert_with(|| {
                meanings.push(Meaning { phrase, ..Meaning::default() });
                meanings.len() - 1
            })
        };
        let mut grouped = Vec::new();
        for (group, phrases) in GROUPS.iter().enumerate() {
            grouped.extend(phrases.phrases.iter().map(|phrase| (meaning_of(phrase), Some(group), 0)));
        }
        let roles = [
            (ASKING, ASKS),
            (ASKING_BEHIND, ASKS_BEHIND),
            (SECRETS, SECRET),
            (PAYING, PAYS),
            (MONEY, MONEYS),
            (NEGATIONS, NEGATES),
            (ENDINGS, ENDS),
        ];
        for (phrases, role) in roles {
            grouped.extend(phrases.iter().map(|phrase| (meaning_of(phrase), None, role)));
        }
        for (meaning, group, role) in grouped {
            meanings[meaning].groups.extend(group);
            meanings[meaning].roles |= role;
        }
        let automaton = AhoCorasickBuilder::new()
            .match_kind(MatchKind::Standard)
            .build(meanings.iter().map(|meaning| meaning.phrase))
            .expect("some thousand short phrases fit an automaton");
        Lexicon { automaton, meanings }
    }

    /// Every phrase that stands between word boundaries, in the order of their ends.
    fn find(&self, text: &str) -> Vec<Hit> {
        let bytes = text.as_bytes();
        let word = |at: Option<&u8>| at.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
        let mut hits = Vec::new();
        for found in self.automaton.find_overlapping_iter(text) {
            let (start, end, meaning) = (found.start(), found.end(), found.pattern().as_usize());
            let before = start.checked_sub(1).and_then(|at| bytes.get(at));
            let after = bytes.get(end);
            let is_money = self.meanings[meaning].roles & MONEYS != 0;
            let begins_word = word(before) && bytes[start].is_ascii_alphanumeric();
            // `rs5000`, but not `pin1`.
            let goes_on = word(after) && bytes[end - 1].is_ascii_alphanumeric() && !(is_money && after.is_some_and(u8::is_ascii_digit));
            if !begins_word && !goes_on {
                hits.push(Hit { start, end, meaning });
            }
        }
        hits
    }

    /// Every rule that these phrases fulfil, with a phrase each; some more than once.
    fn rules<'a>(&'a self, text: &'a str, hits: &'a [Hit]) -> impl Iterator<Item = (Rule, &'static str)> + 'a {
        let by_phrase = hits.iter().flat_map(|hit| {
            let meaning = &self.meanings[hit.meaning];
            meaning.groups.iter().filter_map(|&group| GROUPS[group].rule).map(|rule| (rule, meaning.phrase))
        });
        let by_phrase = by_phrase.filter(|(rule, _)| *rule != Rule::CredentialRequest);
        by_phrase.chain(self.demands(text, hits))
    }

    fn keywords<'a>(&'a self, hits: &'a [Hit]) -> impl Iterator<Item = &'static str> + 'a {
        // Of phrases within each other the longest one is the keyword.
        let is_evidence = |hit: &Hit| {
            let meaning = &self.meanings[hit.meaning];
            meaning.groups.iter().any(|&group| GROUPS[group].rule.is_some_and(|rule| rule.weight() > 0)) || meaning.phrase == "otp"
        };
        let mut order: Vec<Hit> = hits.iter().copied().filter(is_evidence).collect();
        order.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
        let mut covered = 0;
        order.retain(|hit| {
            let inside = hit.end <= covered;
            covered = covered.max(hit.end);
            !inside
        });
        order.into_iter().map(|hit| self.meanings[hit.meaning].phrase)
    }

    fn add_kinds(&self, hits: &[Hit], times: u32, points: &mut [u32; Kind::ALL.len()]) {
        // Said ten times, a word is still one word.
        let mut counted: Vec<usize> = hits.iter().map(|hit| hit.meaning).collect();
        counted.sort_unstable();
        counted.dedup();
        for meaning in counted {
            for &group in &self.meanings[meaning].groups {
                if let Some((kind, weight)) = GROUPS[group].kind {
                    points[kind as usize] += u32::from(weight) * times;
                }
            }
        }
    }

    fn is_ending(&self, text: &str, hits: &[Hit]) -> bool {
        text.len() <= GOODBYE_BYTES_MAX && hits.iter().any(|hit| self.meanings[hit.meaning].roles & ENDS != 0)
    }

    fn paying(&self, hits: &[Hit]) -> Option<&'static str> {
        hits.iter().map(|hit| &self.meanings[hit.meaning]).find(|meaning| meaning.roles & PAYS != 0).map(|meaning| meaning.phrase)
    }

    /// Demands for credentials and for money: a verb and its object in one sentence, not turned around.
    fn demands(&self, text: &str, hits: &[Hit]) -> std::vec::IntoIter<(Rule, &'static str)> {
        let mut demands = Vec::new();
        let roles = |hit: &Hit| self.meanings[hit.meaning].roles;
        let one_sentence = |from: usize, to: usize| from >= to || !ends_sentence(&text.as_bytes()[from..to]);
        let negated = |verb: &Hit| {
            // Hits are in the order of their ends, so those just before are near.
            let before = hits.partition_point(|hit| hit.end <= verb.start);
            hits[..before]
                .iter()
                .rev()
                .take_while(|hit| verb.start - hit.end <= NEGATION_BYTES_MAX)
                .any(|hit| roles(hit) & NEGATES != 0 && one_sentence(hit.end, verb.start))
        };
        for verb in hits.iter().filter(|hit| roles(hit) & (ASKS | ASKS_BEHIND | PAYS) != 0) {
            if demands.len() >= 2 * EVIDENCE_MAX {
                break;
            }
            if negated(verb) {
                continue;
            }
            let behind = hits.partition_point(|hit| hit.end <= verb.end);
            let behind = hits[behind..].iter().take_while(|hit| hit.end - verb.end <= DEMAND_BYTES_MAX);
            let behind = behind.filter(|hit| hit.start >= verb.end && one_sentence(verb.end, hit.start));
            let before = hits.partition_point(|hit| hit.end <= verb.start);
            let before = hits[..before].iter().rev().take_while(|hit| verb.start - hit.end <= DEMAND_BEHIND_BYTES_MAX);
            let before = before.filter(|hit| one_sentence(hit.end, verb.start));
            let mut objects_behind = 0;
            // "Give OTP 4471 to the driver" hands over a code, it asks for none.
            let objects = |hit: &Hit| if is_code(&text[hit.end..]) { roles(hit) & !SECRET } else { roles(hit) };
            behind.for_each(|hit| objects_behind |= objects(hit));
            let mut objects_before = 0;
            before.for_each(|hit| objects_before |= roles(hit));
            let phrase = self.meanings[verb.meaning].phrase;
            if (roles(verb) & ASKS != 0 && objects_behind & SECRET != 0) || (roles(verb) & ASKS_BEHIND != 0 && objects_before & SECRET != 0)
            {
                demands.push((Rule::CredentialRequest, phrase));
            }
            if roles(verb) & PAYS != 0 && (objects_behind | objects_before) & MONEYS != 0 {
                demands.push((Rule::PaymentRequest, phrase));
            }
        }
        demands.into_iter()
    }
}

/// Whether digits follow: a code that is told.
fn is_code(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', ':', '-']);
    let rest = rest.strip_prefix("is ").unwrap_or(rest);
    rest.bytes().take_while(u8::is_ascii_digit).count() >= 4
}

/// Whether a sentence ends in this stretch: a full stop in front of a space, not the one in `Rs.5000`.
fn ends_sentence(between: &[u8]) -> bool {
    between.iter().enumerate().any(|(at, byte)| match byte {
        b'\n' | b'!' | b'?' | b';' => true,
        b'.' => between.get(at + 1) == Some(&b' ') && !between[..at].ends_with(b"rs"),
        _ => false,
    })
}
