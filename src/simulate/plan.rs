//! What attackers do: a session's steps and the pauses between them, drawn when it begins.
use super::lexicon::{HOSTILE, Lexicon};
use super::random::{Random, Weighted};
use super::session::{Session, Step};
use super::vocabulary as words;
use super::{Shape, Simulation, hostile};

/// In hostile mode one value in this many is from the menu.
const HOSTILE_VALUE_ONE_IN: u32 = 12;
/// And every so many sessions hold a whole line from the menu: about one line in five hundred.
const HOSTILE_LINE_EVERY_SESSIONS: u64 = 83;

/// What an attacker is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    Scan,
    Probe,
    Guess,
    LogIn,
    Robot,
    KeyInstall,
    Drop,
    Tunnel,
    Visit,
    OfferKeys,
}

/// Habits and how common they are among sessions of 2026, then of 2017.
const HABITS: &[(Habit, [f64; 2])] = &[
    (Habit::Scan, [9.0, 35.0]),
    (Habit::Probe, [4.5, 3.0]),
    (Habit::Guess, [39.0, 22.0]),
    (Habit::LogIn, [10.0, 4.0]),
    (Habit::Robot, [19.0, 23.0]),
    (Habit::KeyInstall, [3.0, 0.1]),
    (Habit::Drop, [1.5, 3.0]),
    (Habit::Tunnel, [12.0, 8.0]),
    (Habit::Visit, [1.0, 1.8]),
    (Habit::OfferKeys, [1.0, 0.1]),
];

/// The distribution of habits.
pub(super) fn habits(shape: Shape) -> Weighted {
    Weighted::new(&HABITS.iter().map(|(_, weights)| weights[shape as usize]).collect::<Vec<_>>())
}

/// Writes the plan of one session.
pub(super) struct Planner<'a> {
    pub(super) session: &'a mut Session,
    pub(super) lexicon: &'a Lexicon,
    pub(super) random: &'a mut Random,
    pub(super) options: &'a Simulation,
}

impl Planner<'_> {
    pub(super) fn plan(&mut self, number: u64) {
        let habit = HABITS[self.lexicon.habits.draw(self.random) as usize].0;
        self.after(0, 1, Step::Connect);
        if self.options.hostile && number.is_multiple_of(HOSTILE_LINE_EVERY_SESSIONS) {
            let maker = (number / HOSTILE_LINE_EVERY_SESSIONS) as usize % hostile::LINES.len();
            self.network(Step::HostileLine { maker: maker as u32 });
        }
        match habit {
            Habit::Scan => self.scan(),
            _ if self.session.telnet => self.telnet(habit),
            _ => {
                self.after(2_000, 400_000, Step::Version);
                if self.options.shape == Shape::Modern {
                    self.after(1_000, 250_000, Step::Kex);
                }
                self.ssh(habit);
            }
        }
        self.network(Step::Closed);
    }

    fn ssh(&mut self, habit: Habit) {
        match habit {
            Habit::Scan | Habit::Probe => (),
            Habit::Guess => self.guesses(),
            Habit::LogIn => self.log_in(),
            Habit::Robot => {
                self.log_in();
                let (first, count) = self.lexicon.robots[self.pick(self.lexicon.robots.len() as u32) as usize];
                for command in first..first + count {
                    self.channel(command, |_| ());
                }
            }
            Habit::KeyInstall => {
                self.log_in();
                let unlock = self.lexicon.unlock;
                self.channel(unlock, |planner| planner.after(200, 3_000, Step::NotFound { command: unlock + 1 }));
                self.channel(unlock + 2, |planner| planner.after(200, 9_000, Step::Redirected));
            }
            Habit::Drop => self.drop(),
            Habit::Tunnel => {
                self.log_in();
                let index = self.pick(words::TUNNELS.len() as u32);
                for id in 0..1 + self.random.below(4) * self.random.below(2) {
                    self.network(Step::TunnelRequest { index });
                    if self.options.shape == Shape::Modern && matches!(words::TUNNELS[index as usize].1, 80 | 443) {
                        let bits = self.random.below(40);
                        self.network(Step::TunnelFingerprint { index, bits });
                    }
                    if self.random.percent(70) {
                        let index = self.or_hostile(index);
                        self.network(Step::TunnelData { index, id });
                    }
                }
            }
            Habit::Visit => self.visit(),
            Habit::OfferKeys => {
                let username = self.username();
                for _ in 0..1 + self.random.below(3) {
                    self.network(Step::Key { username });
                    self.after(300, 2_000, Step::KeyRefused { username });
                }
            }
        }
    }

    fn scan(&mut self) {
        if self.random.percent(25) && !self.session.telnet {
            let alien = self.random.below(self.lexicon.aliens.len());
            self.session.alien = Some(self.or_hostile(alien));
            self.after(1_000, 200_000, Step::Version);
        }
    }

    fn telnet(&mut self, habit: Habit) {
        match habit {
            Habit::Guess => self.guesses(),
            Habit::Scan | Habit::Probe => {
                if self.options.shape == Shape::Modern && self.random.percent(40) {
                    let cve = self.random.below(words::CVES.len() as u32);
                    self.network(Step::Exploit { cve });
                }
            }
            _ if self.options.shape == Shape::Legacy => {
                self.log_in();
                self.network(Step::LogOpen);
                let opened_after = self.planned();
                for round in 0..1 + self.random.below(3) {
                    for entry in 0..self.lexicon.loader.len() {
                        let command = self.or_hostile(self.lexicon.loader[entry].0);
                        self.after(20_000, 900_000, Step::Input { command });
                        for found in 0..self.lexicon.loader[entry].1.len() {
                            let command = self.lexicon.loader[entry].1[found];
                            self.after(3_000, 15_000, Step::Found { command });
                        }
                        if self.lexicon.loader[entry].1.is_empty() || round > 0 && entry % 4 == 0 {
                            self.after(3_000, 15_000, Step::NotFound { command });
                        }
                    }
                }
                let work = self.random.below(1 << 20);
                self.network(Step::LogClosed { work, opened_after });
            }
            _ => self.drop(),
        }
    }

    fn guesses(&mut self) {
        // Half of those who fail leave at once; the rest walk a dictionary, as far as the server lets them.
        let attempts = if self.random.percent(88) { 1 } else { 2 + self.random.below(6) };
        let username = self.username();
        for _ in 0..attempts {
            let password = self.password();
            self.after(200_000, 1_800_000, Step::Login { username, password, success: false });
        }
    }

    fn log_in(&mut self) {
        let username = self.username();
        if self.random.percent(4) {
            let password = self.password();
            self.network(Step::Login { username, password, success: false });
        }
        let password = self.password();
        self.network(Step::Login { username, password, success: true });
    }

    fn drop(&mut self) {
        self.log_in();
        let command = self.lexicon.commands.len() + self.random.below(self.lexicon.droppers.len());
        let (host, file) = (self.session.drop.0, self.session.drop.1 + 16 * self.random.below(6) * self.random.below(2));
        let (file, failed) = (self.or_hostile(file), self.random.percent(15));
        let downloads = 1 + self.random.below(4);
        let upload = self.random.percent(10);
        self.channel(command, |planner| {
            for _ in 0..downloads {
                let step = if failed { Step::DownloadFailed { host, file } } else { Step::Download { host, file } };
                planner.after(80_000, 2_500_000, step);
            }
            if upload {
                let file = planner.or_hostile(file & !HOSTILE);
                planner.network(Step::Upload { file });
            }
        });
    }

    fn visit(&mut self) {
        self.log_in();
        self.network(Step::Size);
        let index = self.random.below(words::ENVIRONMENT.len() as u32);
        let index = self.or_hostile(index);
        self.after(100, 4_000, Step::Variable { index });
        if self.options.shape == Shape::Modern {
            self.after(100, 900, Step::Params);
        } else {
            self.after(100, 900, Step::LogOpen);
        }
        let opened_after = self.planned();
        for _ in 0..3 + self.random.below(25) {
            let command = self.lexicon.typed.0 + self.random.below(self.lexicon.typed.1);
            let command = self.or_hostile(command);
            self.after(700_000, 14_000_000, Step::Input { command });
            if self.random.percent(12) {
                self.after(100, 900, Step::NotFound { command });
            }
        }
        let work = self.random.below(1 << 24);
        self.network(Step::LogClosed { work, opened_after });
    }

    /// One `exec` channel: parameters, the command, what came of it, the closed log.
    fn channel(&mut self, command: u32, then: impl FnOnce(&mut Self)) {
        let opened_after = self.planned();
        if self.options.shape == Shape::Modern {
            self.network(Step::Params);
        } else {
            self.network(Step::LogOpen);
        }
        let command = self.or_hostile(command);
        self.after(200, 1_500, Step::Input { command });
        if self.options.shape == Shape::Legacy {
            self.after(200, 1_500, Step::Found { command });
        }
        then(self);
        // Robots leave the same screen behind each time, so a handful of recordings serves for most.
        let work = (command & !HOSTILE) * 8 + self.random.below(8) * self.random.below(2);
        self.network(Step::LogClosed { work, opened_after });
    }

    /// The attacker's own choice two times in three.
    fn pick(&mut self, choices: u32) -> u32 {
        if self.random.percent(67) { (self.session.character >> 11) as u32 % choices } else { self.random.below(choices) }
    }

    fn username(&mut self) -> u32 {
        let rank = self.lexicon.username_ranks.draw(self.random);
        self.or_hostile(rank)
    }

    fn password(&mut self) -> u32 {
        let rank = self.lexicon.password_ranks.draw(self.random);
        self.or_hostile(rank)
    }

    fn or_hostile(&mut self, index: u32) -> u32 {
        if self.options.hostile && self.random.below(HOSTILE_VALUE_ONE_IN) == 0 {
            return HOSTILE | self.random.below(self.lexicon.hostile.len() as u32);
        }
        index
    }

    fn network(&mut self, step: Step) {
        self.after(8_000, 450_000, step);
    }

    fn after(&mut self, from_micros: u32, to_micros: u32, step: Step) {
        let pause = self.random.between(from_micros, to_micros);
        self.session.steps.push((step, pause));
    }

    /// Microseconds from the session's beginning to the last step planned so far.
    fn planned(&self) -> u32 {
        self.session.steps.iter().skip(1).map(|&(_, pause)| pause.max(1)).fold(0, u32::saturating_add)
    }
}
