//! Names that scripts use because everybody does: search engines and clouds, and where software, its packages and its keys come from.
//! Their being named says nothing about them, and blocking them hurts.
//!
//! Written from general knowledge of the most visited sites, the mirrors of distributions and the registries of languages; no list of
//! somebody else's. A name below one of these counts as well, but for [`LENT`].

/// Registered names, or longer ones where only these are meant.
pub const SOFTWARE_HOSTS: &[&str] = &[
    // search, mail, shops, media, and what they serve their files from
    "google.com",
    "google.co.in",
    "google.de",
    "google.co.uk",
    "google.ca",
    "google.co.jp",
    "google.com.br",
    "google.com.mx",
    "google.es",
    "google.fr",
    "google.it",
    "google.nl",
    "dns.google",
    "gstatic.com",
    "googleapis.com",
    "youtube.com",
    "gmail.com",
    "bing.com",
    "yahoo.com",
    "duckduckgo.com",
    "baidu.com",
    "yandex.ru",
    "yandex.com",
    "ya.ru",
    "qq.com",
    "taobao.com",
    "tmall.com",
    "jd.com",
    "163.com",
    "sina.com.cn",
    "weibo.com",
    "bilibili.com",
    "vk.com",
    "mail.ru",
    "naver.com",
    "facebook.com",
    "fbcdn.net",
    "instagram.com",
    "whatsapp.com",
    "whatsapp.net",
    "twitter.com",
    "x.com",
    "t.co",
    "twimg.com",
    "linkedin.com",
    "reddit.com",
    "pinterest.com",
    "tiktok.com",
    "snapchat.com",
    "netflix.com",
    "spotify.com",
    "twitch.tv",
    "wikipedia.org",
    "wikimedia.org",
    "amazon.com",
    "amazon.in",
    "amazon.de",
    "ebay.com",
    "aliexpress.com",
    "paypal.com",
    "flipkart.com",
    "paytm.com",
    "phonepe.com",
    "zoom.us",
    "slack.com",
    "skype.com",
    "imdb.com",
    "quora.com",
    "stackoverflow.com",
    "stackexchange.com",
    "wordpress.org",
    "mozilla.org",
    "firefox.com",
    "opera.com",
    "brave.com",
    "archive.org",
    "ietf.org",
    "w3.org",
    "iana.org",
    "icann.org",
    "example.com",
    "example.net",
    "example.org",
    // vendors and clouds
    "microsoft.com",
    "windows.com",
    "windowsupdate.com",
    "live.com",
    "office.com",
    "outlook.com",
    "hotmail.com",
    "msn.com",
    "microsoftonline.com",
    "visualstudio.com",
    "apple.com",
    "icloud.com",
    "adobe.com",
    "oracle.com",
    "ibm.com",
    "intel.com",
    "amd.com",
    "nvidia.com",
    "cisco.com",
    "hp.com",
    "dell.com",
    "vmware.com",
    "cloudflare.com",
    "akamai.com",
    "fastly.com",
    "aws.amazon.com",
    "cloud.google.com",
    "azure.com",
    "digitalocean.com",
    "hetzner.com",
    "aliyun.com",
    "letsencrypt.org",
    "digicert.com",
    "teamviewer.com",
    "anydesk.com",
    // where source code and binaries are hosted
    "github.com",
    "githubusercontent.com",
    "githubassets.com",
    "ghcr.io",
    "gitlab.com",
    "bitbucket.org",
    "codeberg.org",
    "sourceforge.net",
    "launchpad.net",
    "kernel.org",
    "gnu.org",
    "savannah.gnu.org",
    "docker.com",
    "docker.io",
    "quay.io",
    "jsdelivr.net",
    "cdnjs.com",
    "unpkg.com",
    "jquery.com",
    "bootstrapcdn.com",
    // registries of languages
    "pypi.org",
    "pythonhosted.org",
    "python.org",
    "npmjs.com",
    "npmjs.org",
    "nodejs.org",
    "rubygems.org",
    "ruby-lang.org",
    "crates.io",
    "rust-lang.org",
    "rustup.rs",
    "golang.org",
    "go.dev",
    "cpan.org",
    "perl.org",
    "php.net",
    "packagist.org",
    "maven.org",
    "openjdk.org",
    // distributions and their mirrors
    "debian.org",
    "ubuntu.com",
    "canonical.com",
    "archive.ubuntu.com",
    "linuxmint.com",
    "kali.org",
    "centos.org",
    "redhat.com",
    "fedoraproject.org",
    "rockylinux.org",
    "almalinux.org",
    "opensuse.org",
    "suse.com",
    "archlinux.org",
    "gentoo.org",
    "alpinelinux.org",
    "openwrt.org",
    "freebsd.org",
    "openbsd.org",
    "netbsd.org",
    "snapcraft.io",
    "raspberrypi.org",
    "raspberrypi.com",
    "busybox.net",
    "openssh.com",
    "openssl.org",
    "apache.org",
    "nginx.org",
    "nginx.com",
    "mysql.com",
    "postgresql.org",
    "mariadb.org",
    // what says who and where one is
    "ipinfo.io",
    "ifconfig.me",
    "ifconfig.co",
    "icanhazip.com",
    "ipify.org",
    "ip-api.com",
    "ip-who.com",
    "ipwho.is",
    "ip.sb",
    "ident.me",
    "wtfismyip.com",
    "httpbin.org",
    "checkip.amazonaws.com",
    "ntp.org",
    "time.nist.gov",
];

/// Names below those above that are lent to anybody: a page there is its tenant's.
pub const LENT: &[&str] =
    &["sites.google.com", "drive.google.com", "docs.google.com", "storage.googleapis.com", "firebasestorage.googleapis.com"];

/// Whether the name, in lower case, is one of them or below one.
pub fn is_software_host(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let below = |of: &str| name.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    SOFTWARE_HOSTS.iter().any(|known| below(known)) && !LENT.iter().any(|lent| name.len() >= lent.len() && below(lent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_count_and_names_that_only_look_like_it_do_not() {
        for name in ["github.com", "raw.githubusercontent.com", "deb.debian.org", "google.com.", "a.b.c.microsoft.com"] {
            assert!(is_software_host(name), "{name}");
        }
        for name in ["evilgithub.com", "github.com.evil.example", "com", "", ".", "drive.google.com", "notgnu.org"] {
            assert!(!is_software_host(name), "{name}");
        }
    }

    #[test]
    fn names_are_written_as_they_are_compared_and_once() {
        let mut names: Vec<&str> = SOFTWARE_HOSTS.to_vec();
        assert!(
            names
                .iter()
                .all(|name| name.contains('.') && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b)))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SOFTWARE_HOSTS.len());
        assert!(names.len() >= 150);
    }
}
