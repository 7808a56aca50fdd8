//! What is a valid phone number is libphonenumber's word: the table made of the crate `phonenumber` is compared with it.
use honeyguide::extract::phone::is_valid;

/// What is known of every region; codes that belong to none (satellites, international toll-free) are reached by the code only.
fn regions() -> impl Iterator<Item = &'static phonenumber::Metadata> {
    (1..1000u16).flat_map(|code| phonenumber::metadata::DATABASE.by_code(&code).unwrap_or_default())
}

/// The library's word on digits with their calling code in front; `None` when it reads them as another number.
fn library(digits: &str) -> Option<bool> {
    let Ok(number) = phonenumber::parse(None, format!("+{digits}")) else { return Some(false) };
    (number.format().mode(phonenumber::Mode::E164).to_string() == format!("+{digits}")).then(|| number.is_valid())
}

#[test]
fn valid_is_what_the_library_calls_valid() {
    // Every example of every region, and numbers near it.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut compared, mut valid, mut longer, mut wrong) = (0, 0, 0, Vec::new());
    for region in regions() {
        let known = region.descriptors();
        let kinds = [known.fixed_line(), known.mobile(), known.toll_free(), known.premium_rate(), known.voip(), known.uan()];
        for example in kinds.into_iter().flatten().filter_map(|kind| kind.example()) {
            let digits = format!("{}{example}", region.country_code());
            for changes in 0..6 {
                let mut digits = digits.clone().into_bytes();
                for _ in 0..changes {
                    match random(8) {
                        0 if digits.len() > 4 => drop(digits.pop()),
                        1 => digits.push(b'0' + random(10) as u8),
                        _ => {
                            let at = random(digits.len());
                            digits[at] = b'0' + random(10) as u8;
                        }
                    }
                }
                let digits = String::from_utf8(digits).unwrap();
                let Some(expected) = library(&digits).filter(|_| digits.len() <= 15) else { continue };
                compared += 1;
                valid += usize::from(expected);
                // The crate is content when the beginning of a number matches; libphonenumber itself, and this, want all of it to.
                let is_beginning_valid = || (6..digits.len()).any(|len| is_valid(&digits[..len]));
                if is_valid(&digits) != expected {
                    if expected && is_beginning_valid() {
                        longer += 1;
                    } else {
                        wrong.push((digits, expected));
                    }
                }
            }
        }
    }
    println!("{compared} numbers compared, {valid} of them valid, {longer} longer than a valid one; judged differently: {wrong:?}");
    assert!(compared > 4000 && valid > 1500);
    assert!(wrong.is_empty());
}
