//! Values for people: written so that neither a click nor a preview leads anywhere.
use crate::events::Field;

/// `http://evil.com/x` becomes `hxxp://evil[.]com/x`, `1.2.3.4` becomes `1[.]2[.]3[.]4`. Kinds that lead nowhere stay as they are.
pub fn defang(kind: Field, value: &str) -> String {
    match kind {
        Field::Url => url(value),
        Field::Ipv4 | Field::Domain => value.replace('.', "[.]"),
        Field::SrcIp | Field::Ipv6 => value.replace(':', "[:]").replace('.', "[.]"),
        Field::Email | Field::Upi => value.replace('@', "[@]").replace('.', "[.]"),
        _ => value.to_owned(),
    }
}

fn url(value: &str) -> String {
    let (scheme, rest) = value.split_once("://").map_or(("", value), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    // An address of IPv6 stands in brackets already, and has no dots to break.
    let host = host.replace('.', "[.]").replace('@', "[@]");
    let host = if host.starts_with('[') && !host.starts_with("[.]") { host.replace(':', "[:]") } else { host };
    let scheme = match scheme {
        "" => String::new(),
        "http" | "https" => format!("hxxp{}://", &scheme["http".len()..]),
        "ftp" => "fxp://".to_owned(),
        other => format!("{other}[:]//"),
    };
    // What looks like another URL in the path, such as a redirection's, is broken too.
    format!("{scheme}{host}{}", path.replace("://", "[:]//"))
}

/// What was meant by a value that was written so: `hxxp://evil[.]com` is `http://evil.com`.
pub fn refang(written: &str) -> String {
    let plain = written.replace("[.]", ".").replace("(.)", ".").replace("[:]", ":").replace("[@]", "@");
    let scheme = [("hxxp://", "http://"), ("hxxps://", "https://"), ("fxp://", "ftp://")];
    let meant = |(broken, whole): (&str, &str)| {
        let beginning = plain.get(..broken.len())?;
        beginning.eq_ignore_ascii_case(broken).then(|| format!("{whole}{}", &plain[broken.len()..]))
    };
    scheme.into_iter().find_map(meant).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_leads_anywhere() {
        let cases = [
            (Field::Url, "http://evil.com/a.sh", "hxxp://evil[.]com/a.sh"),
            (Field::Url, "https://u:p@evil.com:8443/?to=http://b.c", "hxxps://u:p[@]evil[.]com:8443/?to=http[:]//b.c"),
            (Field::Url, "ftp://203.0.113.7/x", "fxp://203[.]0[.]113[.]7/x"),
            (Field::Url, "tftp://evil.com", "tftp[:]//evil[.]com"),
            (Field::Url, "http://[2001:db8::1]/x", "hxxp://[2001[:]db8[:][:]1]/x"),
            (Field::Url, "evil.com/x.sh", "evil[.]com/x.sh"),
            (Field::Domain, "a.evil.com", "a[.]evil[.]com"),
            (Field::SrcIp, "203.0.113.7", "203[.]0[.]113[.]7"),
            (Field::Ipv6, "2001:db8::1", "2001[:]db8[:][:]1"),
            (Field::Email, "a.b@evil.com", "a[.]b[@]evil[.]com"),
            (Field::Md5, "d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e"),
        ];
        for (kind, value, expected) in cases {
            assert_eq!(defang(kind, value), expected);
            assert_eq!(refang(expected), value, "the way back");
        }
        assert_eq!(refang("HXXPS://é(.)top"), "https://é.top");
    }
}
