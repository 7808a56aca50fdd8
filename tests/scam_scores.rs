//! Scam scores: every talk of the corpus is confirmed, honest talk is not. Prints what kind each was found to be.
use honeyguide::events::chat::Message;
use honeyguide::extract::scam::{CONFIRMED_SCORE, assess, keywords, marks, scam_type};
use std::collections::BTreeMap;

/// What the corpus calls a kind, and what this program does. Several of its names are one kind here.
const KINDS: &[(&str, &str)] = &[
    ("aadhaar_fraud", "kyc_fraud"),
    ("ayushman_scam", "government_scheme"),
    ("bank_fraud", "bank_fraud"),
    ("bank_merger_scam", "bank_fraud"),
    ("card_blocked", "bank_fraud"),
    ("courier_scam", "parcel_scam"),
    ("cred_scam", "upi_fraud"),
    ("crypto_investment", "investment_scam"),
    ("customs_parcel", "parcel_scam"),
    ("delivery_scam", "parcel_scam"),
    ("dth_scam", "utility_scam"),
    ("edu_loan_scam", "government_scheme"),
    ("electricity_bill", "utility_scam"),
    ("electricity_scam", "utility_scam"),
    ("gas_booking", "government_scheme"),
    ("gold_scheme_scam", "investment_scam"),
    ("govt_impersonation", "government_scheme"),
    ("govt_scheme", "government_scheme"),
    ("hinglish_bank_block", "bank_fraud"),
    ("hinglish_kyc", "kyc_fraud"),
    ("hinglish_lottery", "lottery_scam"),
    ("hinglish_upi", "upi_fraud"),
    ("hinglish_urgent_otp", "otp_theft"),
    ("income_tax", "tax_scam"),
    ("income_tax_scam", "tax_scam"),
    ("insurance", "insurance_scam"),
    ("insurance_renewal_scam", "insurance_scam"),
    ("insurance_scam", "insurance_scam"),
    ("job_scam", "job_scam"),
    ("kyc_fraud", "kyc_fraud"),
    ("loan_approval", "loan_scam"),
    ("loan_fraud", "loan_scam"),
    ("lottery_scam", "lottery_scam"),
    ("marriage_scam", "booking_scam"),
    ("medicine_scam", "medicine_scam"),
    ("mobile_recharge_scam", "utility_scam"),
    ("mutual_fund_scam", "investment_scam"),
    ("nri_scam", "remittance_scam"),
    ("otp_theft", "otp_theft"),
    ("passport_scam", "kyc_fraud"),
    ("pension_scam", "government_scheme"),
    ("phishing", "phishing"),
    ("phonepe_scam", "upi_fraud"),
    ("pm_kisan_scam", "government_scheme"),
    ("police_threat", "police_threat"),
    ("property_scam", "property_scam"),
    ("railway_refund_scam", "refund_scam"),
    ("refund_scam", "refund_scam"),
    ("rental_scam", "property_scam"),
    ("romance_scam", "romance_scam"),
    ("sextortion", "sextortion"),
    ("tech_support", "tech_support"),
    ("trading_scam", "investment_scam"),
    ("upi_fraud", "upi_fraud"),
    ("vehicle_fine_scam", "fine_scam"),
    ("water_bill_scam", "utility_scam"),
    ("whatsapp_hack", "impersonation"),
];

fn message(sender: &str, text: &str) -> Message {
    Message { sender: sender.into(), text: text.into(), session: "s".into(), ..Message::default() }
}

#[test]
fn every_talk_of_the_corpus_is_a_scam_of_its_kind() {
    let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS") else {
        println!("SKIPPED: every_talk_of_the_corpus_is_a_scam_of_its_kind: HONEYGUIDE_CORPUS is not set");
        return;
    };
    let path = std::path::Path::new(&corpus).join("chat/conversations.ndjson");
    let talks = std::fs::read_to_string(&path).unwrap();
    let (mut open, mut confusion, mut right, mut total) = (Vec::new(), BTreeMap::<_, u32>::new(), 0, 0);
    for line in talks.lines() {
        let talk: serde_json::Value = serde_json::from_str(line).unwrap();
        let label = talk["scam_type"].as_str().unwrap();
        let messages = talk["messages"].as_array().unwrap();
        let messages: Vec<_> =
            messages.iter().map(|said| message(said["sender"].as_str().unwrap(), said["text"].as_str().unwrap())).collect();
        let assessment = assess(&messages);
        let expected = KINDS.iter().find(|(corpus, _)| *corpus == label).map_or("?", |(_, kind)| kind);
        let found = assessment.kind.as_deref().unwrap_or("-");
        total += 1;
        right += u32::from(found == expected);
        let reasons: Vec<_> = assessment.reasons.iter().map(|reason| format!("{}({})", reason.rule, reason.weight)).collect();
        println!("{:>3} {label:<24} {found:<18} {} {}", assessment.score, if found == expected { " " } else { "≠" }, reasons.join(" "));
        if found != expected {
            *confusion.entry((expected.to_owned(), found.to_owned())).or_default() += 1;
        }
        if !assessment.confirmed() {
            open.push(label.to_owned());
        }
        assert!(!assessment.reasons.is_empty() && !assessment.keywords.is_empty(), "{label}");
    }
    println!("{right} of {total} kinds as expected; expected → found: {confusion:?}");
    assert!(open.is_empty(), "not confirmed: {open:?}");
    assert!(right * 10 >= total * 9, "{right} of {total} kinds");
}

/// What people and honest senders write, much of it about money, codes, parcels and deadlines.
const HONEST: &[&[&str]] = &[
    &["Your OTP for the transaction of Rs 2,499 at Amazon is 482913. Do not share this OTP with anyone."],
    &["123456 is your one time password to log in to HDFC NetBanking. Valid for 5 minutes. HDFC Bank never asks for your OTP."],
    &["Dear customer, Rs 5,000.00 debited from a/c XX1234 on 12-03-26. If not you, call 18002586161."],
    &[
        "Dear Customer, your KYC is due for renewal. Please visit your nearest branch with your documents before 31 March. We never ask for your PIN or OTP.",
    ],
    &["Your electricity bill of Rs 1,240 for March is due on 05-04-26. Pay through the app or at any collection centre."],
    &["Your parcel will be delivered today between 2 and 6 pm by Ramesh. Track it in the app."],
    &["Out for delivery: your package will arrive today. Give OTP 4471 to the delivery agent only after you have received it."],
    &["Hi, are we still meeting for lunch tomorrow?", "Yes! 1 pm at the usual place", "I'll pay this time :)"],
    &["Can you send me Rs 300 for the movie tickets? raj.k@okaxis", "done", "thanks yaar"],
    &["Beta, khana kha liya?", "Call me when you are free"],
    &["Your flight 6E-204 is delayed by 40 minutes. New departure 18:25. We apologise."],
    &["Reminder: dentist appointment on Monday 10:30. Reply YES to confirm."],
    &["Your order #1182 has been shipped and will be delivered by Friday. Thank you for shopping with us."],
    &["Your refund of Rs 799 has been processed to your original payment method. It will reflect in 5-7 working days."],
    &["Happy birthday! Have a wonderful year ahead. Lots of love from all of us"],
    &["The meeting has moved to 4 pm, room 12. Please bring the figures for the second quarter."],
    &["Your SIP of Rs 5,000 in the index fund was processed on 10 March. Mutual fund investments are subject to market risks."],
    &["Your credit card statement is ready. Total due Rs 12,430, minimum due Rs 620, due date 18 April."],
    &["Hi, this is the recruiter you met at the conference. We have an opening for a backend engineer; could I send you the description?"],
    &["Thank you for applying. Your interview is on Thursday at 11 am at our office. There is no fee at any stage of our hiring."],
    &["Your insurance policy is due for renewal on 30 April. Please contact your agent or log in to your account."],
    &["Income tax: the last date for filing your ITR is 31 July. File on the official portal. Ignore if already filed."],
    &["Mom, I reached the hostel safely. The train was late by two hours.", "Good, eat something and sleep"],
    &["URGENT: blood group O negative needed at City Hospital, please call the blood bank"],
    &["Your account statement for February is available in net banking. Your bank will never ask for your password."],
    &["Your recharge of Rs 239 was successful. Validity 28 days, 1.5 GB per day."],
    &["Congratulations on your new job! When do you start?", "Next Monday, I am so excited"],
    &["The rent for April is Rs 18,000 as usual, please transfer by the 5th.", "Done just now"],
    &["Your cab is arriving. Driver Suresh, KA01AB1234. Share PIN 8812 with the driver to start the ride."],
    &["Beware of fraud: the police never arrest anyone over a video call. Report fraud at cybercrime.gov.in or call 1930."],
    &["Team, the server certificate expires in 10 days, please renew it before Friday."],
    &["Dear parent, school remains closed tomorrow because of heavy rain. Online classes as usual."],
    &["Your gas cylinder booking is confirmed. Delivery by 14 March. Pay Rs 903 to the delivery person."],
    &["Your library books are due tomorrow. A fine of Rs 2 per day applies afterwards."],
    &["Kal subah 9 baje milte hain station par", "Theek hai, main pahunch jaunga"],
    &["Your loan EMI of Rs 8,450 is due on 5 April. Keep sufficient balance in your account."],
    &["We are having a sale: 40% off on all shoes until Sunday, in store and online."],
    &["Doctor's note: take the medicine twice a day after meals. Come back if the fever persists."],
    &["Wedding on 12 May at Green Gardens, you are all invited!", "Wow, congratulations"],
    &["Password changed: the password of your account was changed today at 10:14. If this wasn't you, contact support."],
    &["Did you pay the electricity bill?", "Yes, paid yesterday, Rs 2,310", "great"],
    &["Can't talk now, in a meeting. Will call back in 10 minutes"],
    &[
        "Hello, I am selling the cupboard from the listing. Rs 4,500.",
        "Can you hold it for me? I could pay Rs 500 in advance by UPI.",
        "No need, come and see it first. My number is 98111 22334, call before you come.",
    ],
    &[
        "Your parcel is held at customs because of a missing invoice. Please upload the invoice in your DHL account.",
        "You can also visit our office, no charge applies.",
    ],
    &["Ravi here, forgot my wallet. Could you send Rs 400 to ravi.m@okicici? Will return it tonight", "sent", "you are the best"],
    &[
        "Good morning, this is Meera from the HR department of Larsen. We would like to invite you to a second interview.",
        "Please bring your Aadhaar and your last three salary slips. We do not charge any fee.",
    ],
    &[
        "Support: thank you for contacting us. Could you tell me your order number?",
        "The refund of Rs 1,299 was issued on Monday, it will reach your card within 7 days.",
        "Is there anything else I can help you with?",
    ],
    &[
        "HDFC Bank: you have applied for a loan of Rs 3,00,000. Visit the branch to sign the documents. Never share your PIN or OTP with anyone.",
    ],
    &["Dad, please pay the school fee of Rs 12,000 today, it is the last date. The account is on the fee card."],
    &[
        "The society maintenance of Rs 2,500 is due. Please pay to greenpark.rwa@okhdfcbank before the 10th.",
        "Late payment attracts Rs 100.",
    ],
    &[
        "Congratulations! You won the company quiz. Collect your prize at the reception before 5 pm.",
        "Bring your ID card, it is a coffee mug :)",
    ],
    &["Police: traffic on MG Road is diverted today because of the marathon. Use the ring road."],
    &["We received your report of a blocked card. A new card will be sent to your registered address within 5 days, free of charge."],
    &["Microsoft account: a new sign-in from Chrome on Windows. If this was you, nothing is to be done."],
    &["I invested Rs 10,000 in that index fund last year and got 9%. Not bad, is it?", "FD gives 7% anyway"],
    &["Netflix: your payment of Rs 649 failed. Update your payment method in the app to continue watching."],
    &["Kal mummy ka birthday hai, cake ke liye Rs 300 bhej dena, sab mil ke de rahe hain", "bhej diya"],
    &["Your gas connection KYC is complete. Thank you for visiting our office."],
];

#[test]
fn honest_talk_is_not_taken_for_a_scam() {
    assert!(HONEST.len() >= 30);
    let mut confirmed = Vec::new();
    for talk in HONEST {
        let messages: Vec<_> = talk.iter().map(|text| message("them", text)).collect();
        let assessment = assess(&messages);
        let reasons: Vec<_> = assessment.reasons.iter().map(|reason| format!("{}({})", reason.rule, reason.evidence)).collect();
        println!("{:>3} {:.60} {}", assessment.score, talk[0], reasons.join(" "));
        if assessment.confirmed() {
            confirmed.push(talk[0]);
        }
    }
    assert!(confirmed.is_empty(), "at {CONFIRMED_SCORE} or above: {confirmed:#?}");
}

/// Scams in words that the phrases were not made from: what is missed is printed, and most must not be.
const SCAMS: &[(&str, &[&str])] = &[
    (
        "bank_fraud",
        &["This is Axis Bank security. Your debit card has been deactivated. Tell me the 16 digit card number and CVV to reactivate."],
    ),
    ("otp_theft", &["Sir I have sent you a code by mistake, please forward the 6 digit code to me, it is urgent"]),
    ("lottery_scam", &["Lucky draw result: you are the winner of a Tata Safari! Deposit Rs 9,500 registration charges to claim your car."]),
    ("job_scam", &["Part time job: like YouTube videos and earn Rs 3000 per day. To start, pay a joining fee of Rs 999 to taskjobs@ybl"]),
    (
        "police_threat",
        &[
            "I am Inspector Verma of CBI. A warrant is issued in your name for money laundering. You are under digital arrest. Do not tell anyone.",
        ],
    ),
    (
        "parcel_scam",
        &[
            "FedEx: your package contains drugs and was seized by customs in Mumbai. Transfer Rs 98,000 for verification or you will be arrested.",
        ],
    ),
    (
        "investment_scam",
        &["Join our VIP trading group, double your money in 10 days guaranteed. Deposit USDT at https://vip-profit-trade.xyz"],
    ),
    (
        "utility_scam",
        &[
            "Dear consumer your electricity will be disconnected tonight at 9.30 pm, previous bill not updated. Call officer 9876501234 immediately and pay Rs 15",
        ],
    ),
    ("kyc_fraud", &["Paytm KYC has expired, your wallet will be blocked within 24 hours. Click http://paytm-kyc-verify.top to update"]),
    ("loan_scam", &["Instant loan approved Rs 2,00,000 without documents. Pay file charge Rs 1,750 to loanfast@okaxis first"]),
    (
        "tech_support",
        &["Your computer is infected with a virus. Microsoft technician will help, please install AnyDesk and tell me the code."],
    ),
    ("refund_scam", &["Your Amazon refund of Rs 4,999 failed. To receive it, approve the collect request and enter your UPI PIN"]),
    ("sextortion", &["I recorded your video call. Pay Rs 20,000 or I will send the video to all your family and friends."]),
    (
        "romance_scam",
        &["My darling, I love you. I am stuck at the airport with your gift, please send Rs 30,000 for customs clearance fee"],
    ),
    ("impersonation", &["Hi mom, this is my new number, I lost my phone. I need Rs 18,000 urgently, send to this number on gpay"]),
    ("government_scheme", &["PM Awas Yojana: subsidy of Rs 2.5 lakh approved for you. Pay Rs 1,100 processing fee to pmawas@okicici"]),
    ("kyc_fraud", &["Aapka Aadhaar card band ho jayega, turant KYC update karo aur OTP batao"]),
    (
        "fine_scam",
        &[
            "RTO challan: fine of Rs 1,500 pending against your vehicle. Download echallan.apk and pay today or your license will be suspended",
        ],
    ),
    ("insurance_scam", &["Your LIC bonus of Rs 1,20,000 is ready. Deposit Rs 4,500 GST charge to release the policy amount."]),
    (
        "tax_scam",
        &[
            "Income Tax Department: a refund of Rs 41,004 was approved. Verify your bank account and card number at http://incometax-refund.live",
        ],
    ),
];

#[test]
fn scams_in_other_words_are_found_mostly() {
    let (mut missed, mut other) = (Vec::new(), Vec::new());
    for (kind, talk) in SCAMS {
        let messages: Vec<_> = talk.iter().map(|text| message("scammer", text)).collect();
        let assessment = assess(&messages);
        let reasons: Vec<_> = assessment.reasons.iter().map(|reason| format!("{}({})", reason.rule, reason.evidence)).collect();
        println!("{:>3} {kind:<18} {:<18} {}", assessment.score, assessment.kind.as_deref().unwrap_or("-"), reasons.join(" "));
        if !assessment.confirmed() {
            missed.push(talk[0]);
        } else if assessment.kind.as_deref() != Some(*kind) {
            other.push((kind, assessment.kind));
        }
    }
    println!("missed {} of {}: {missed:#?}; of another kind: {other:?}", missed.len(), SCAMS.len());
    assert!(missed.len() * 5 <= SCAMS.len(), "{missed:#?}");
}

#[test]
fn a_demand_turned_around_is_none() {
    let demanded = |text: &str| assess(&[message("x", text)]).reasons.iter().any(|reason| reason.rule == "credential_request");
    for text in [
        "share your OTP now",
        "Sir please SHARE  the\u{a0}otp",
        "OTP batao",
        "tell me your card number and CVV",
        "ｓｈａｒｅ ｏｔｐ",
        "send me Rs.5 and share your ATM PIN",
    ] {
        assert!(demanded(text), "{text}");
    }
    for text in [
        "never share your OTP",
        "Do not share your OTP or PIN with anyone",
        "don’t tell anybody your password",
        "OTP kisi ko mat batao",
        "We share photos. My pin is for the door",
        "sharepoint otpion",
    ] {
        assert!(!demanded(text), "{text}");
    }
}

#[test]
fn what_the_honeypot_says_itself_counts_for_nothing() {
    let own = "URGENT pay Rs 5000 processing fee to x@okaxis, share your OTP, click http://kyc-update.tk";
    let honest = assess(&[message("them", "Good morning, how are you?"), message("user", own)]);
    assert_eq!((honest.score, honest.indicators.len(), honest.messages), (0, 0, 2));
    assert!(assess(&[message("user", own)]).confirmed(), "where all are called user, somebody is the counterpart");
}

#[test]
fn a_goodbye_ends_a_talk_when_nothing_follows() {
    assert!(assess(&[message("them", "pay now"), message("user", "No. Goodbye!")]).ended);
    assert!(assess(&[message("them", "I am blocking you")]).ended);
    assert!(!assess(&[message("them", "bye"), message("them", "wait, pay first")]).ended);
}

#[test]
fn a_message_by_itself_has_keywords_and_a_kind() {
    let text = "URGENT: your SBI account KYC is expired. Update immediately or your account will be blocked";
    let marks = marks(text);
    assert_eq!(marks.keywords, ["urgent", "kyc is expired", "immediately", "will be blocked"]);
    assert_eq!(marks.kind, Some("kyc_fraud"));
    assert_eq!(keywords(text).collect::<Vec<_>>(), marks.keywords);
    assert_eq!(scam_type("see you tomorrow"), None);
    assert_eq!(scam_type("the parcel is here"), None, "one word makes no scam");
    assert_eq!(keywords("see you tomorrow").count(), 0);
}

#[test]
fn enormous_and_odd_texts_are_assessed_all_the_same() {
    for text in ["share otp ".repeat(100_000), "rs pay ".repeat(50_000), "\u{200b}".repeat(100_000), "é".repeat(70_000), String::new()] {
        let assessment = assess(&[message("x", &text), message("", &text)]);
        assert!(assessment.score <= 100 && assessment.keywords.len() <= 64);
    }
}

/// Processor time this thread has used.
fn cpu() -> std::time::Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    std::time::Duration::new(time.tv_sec() as u64, time.tv_nsec() as u32)
}

/// A talk of 1 MiB in messages of the longest text that is looked at, and half of it: prints what they cost. Judged is only that what is
/// found stays bounded; a scan that is not linear would not come to an end here.
#[test]
fn a_mebibyte_of_the_worst_texts_is_assessed() {
    let texts = [
        "otp share ",
        "rs pay pin ",
        "share ",
        "not ",
        "never share otp",
        "a-b.",
        "9876543210 ",
        "a@ybl ",
        "\u{200b}*_",
        "é ",
        "pay\n",
        "kyc ",
    ];
    for text in texts {
        let talk = |bytes: usize| -> Vec<_> {
            let part = text.repeat((64 << 10) / text.len());
            (0..bytes / part.len()).map(|_| message("scammer", &part)).collect()
        };
        let (whole, half) = (talk(1 << 20), talk(1 << 19));
        let took = |messages: &[Message]| {
            let begin = cpu();
            let assessment = assess(messages);
            assert!(assessment.keywords.len() <= 64 && assessment.indicators.len() <= 512);
            assert!(assessment.reasons.iter().all(|reason| reason.evidence.len() <= 512));
            cpu() - begin
        };
        println!("{text:?}: {:?} for 512 KiB, {:?} for 1 MiB", took(&half), took(&whole));
    }
}
