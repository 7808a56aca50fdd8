//! Makes the table of valid phone numbers at build time, of libphonenumber's metadata as the crate `phonenumber` carries it.
//!
//! Why not the crate itself: its database and its cache of compiled patterns take 5 to 25 MiB, and a number up to 6 ms
//! (`extract/phone.rs`).
use std::collections::BTreeSet;
use std::fmt::Write;

/// One line for each calling code and region: the code, a tab, every pattern that a valid national number may match.
fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    let mut lines = BTreeSet::new();
    // By code: what belongs to no country (satellites, international toll-free) has nothing else.
    let regions = (1..1000u16).flat_map(|code| phonenumber::metadata::DATABASE.by_code(&code).unwrap_or_default());
    for region in regions {
        let known = region.descriptors();
        let kinds = [
            known.fixed_line(),
            known.mobile(),
            known.toll_free(),
            known.premium_rate(),
            known.shared_cost(),
            known.personal_number(),
            known.voip(),
            known.pager(),
            known.uan(),
            known.voicemail(),
        ];
        let mut patterns: Vec<String> = Vec::new();
        for kind in kinds.into_iter().flatten() {
            let pattern: String = kind.national_number().as_str().split_whitespace().collect();
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        lines.insert((region.country_code(), patterns.join("|")));
    }
    let mut table = String::new();
    for (code, patterns) in lines {
        writeln!(table, "{code}\t{patterns}").expect("memory takes what is written");
    }
    let path = std::path::Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets it")).join("phone_metadata.txt");
    std::fs::write(path, table).expect("cargo's directory can be written");
}
