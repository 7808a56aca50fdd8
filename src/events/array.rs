//! Splits a JSON array of objects into its objects: one real log is a single line with an array of 2,100 events.
//!
//! Streaming over the slice, without recursion and without building anything. An element that cannot be an event does not
//! take its neighbours with it; where the text stops being JSON the rest is one last flaw.
use super::json::{Flaw, Scanner};
use std::ops::Range;

/// Something in an array that is not an event: where it lies, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub range: Range<usize>,
    /// `flaw.at` counts from the beginning of the array's line.
    pub flaw: Flaw,
}

/// Whether a line is to be split: its first byte that is not white space opens an array.
#[inline]
pub fn is_array(line: &[u8]) -> bool {
    line.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) == Some(&b'[')
}

/// The elements of the array which `line` consists of, as ranges of `line`.
///
/// `Ok` ranges are complete, valid objects within the depth limit. After a syntax error or something too deep to be passed
/// over, the rest of the line comes as one `Err` and the iterator ends.
pub fn split_array(line: &[u8]) -> Elements<'_> {
    let mut scanner = Scanner { bytes: line, at: 0 };
    scanner.skip_space();
    Elements { scanner, state: State::Start }
}

/// Iterator of [`split_array`].
pub struct Elements<'a> {
    scanner: Scanner<'a>,
    state: State,
}

enum State {
    Start,
    BehindElement,
    Ended,
}

impl Elements<'_> {
    /// Moves to the next element, or `None` behind the array's end.
    fn advance(&mut self) -> Result<Option<()>, Flaw> {
        let scanner = &mut self.scanner;
        scanner.skip_space();
        match (&self.state, scanner.peek()) {
            (State::Ended, _) => return Ok(None),
            (State::Start, Some(b'[')) => {
                scanner.at += 1;
                scanner.skip_space();
                if scanner.peek() != Some(b']') {
                    return Ok(Some(()));
                }
            }
            (State::BehindElement, Some(b',')) => {
                scanner.at += 1;
                scanner.skip_space();
                return Ok(Some(()));
            }
            (State::BehindElement, Some(b']')) => {}
            (State::Start, _) => return Err(scanner.flaw("expected an array")),
            (State::BehindElement, _) => return Err(scanner.flaw("expected ',' or ']'")),
        }
        scanner.at += 1;
        scanner.skip_space();
        if scanner.peek().is_some() {
            return Err(scanner.flaw("something behind the array"));
        }
        Ok(None)
    }
}

impl Iterator for Elements<'_> {
    type Item = Result<Range<usize>, Rejected>;

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.scanner.at;
        let end = self.scanner.bytes.len();
        match self.advance() {
            Ok(Some(())) => self.state = State::BehindElement,
            Ok(None) => {
                self.state = State::Ended;
                return None;
            }
            Err(flaw) => {
                self.state = State::Ended;
                return Some(Err(Rejected { range: before..end, flaw }));
            }
        }
        let start = self.scanner.at;
        let object = self.scanner.peek() == Some(b'{');
        match self.scanner.skip_value(0) {
            Ok(()) if object => Some(Ok(start..self.scanner.at)),
            Ok(()) => Some(Err(Rejected { range: start..self.scanner.at, flaw: Flaw::not_an_object("element is not an object", start) })),
            Err(flaw) => {
                self.state = State::Ended;
                Some(Err(Rejected { range: start..end, flaw }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::json::FlawKind;

    fn split(line: &str) -> Vec<Result<&str, String>> {
        split_array(line.as_bytes())
            .map(|element| match element {
                Ok(range) => Ok(&line[range]),
                Err(rejected) => Err(format!("{} ({})", rejected.flaw, &line[rejected.range])),
            })
            .collect()
    }

    #[test]
    fn gives_each_object_as_it_stands() {
        assert_eq!(split(r#" [ {"a":"]"} ,{"b":[1,{"c":2}]}, {} ] "#), [Ok(r#"{"a":"]"}"#), Ok(r#"{"b":[1,{"c":2}]}"#), Ok("{}")]);
        assert_eq!(split("[]"), []);
        assert_eq!(split(" [ ]\r"), []);
    }

    #[test]
    fn an_element_that_is_no_object_leaves_its_neighbours_alone() {
        assert_eq!(
            split(r#"[{},7,[{}],{}]"#),
            [
                Ok("{}"),
                Err("element is not an object at column 5 (7)".into()),
                Err("element is not an object at column 7 ([{}])".into()),
                Ok("{}"),
            ]
        );
    }

    #[test]
    fn what_stops_being_json_is_refused_to_the_end() {
        for (line, good, message) in [
            ("[{},{\"a\":", 1, "ends too early at column 10 ({\"a\":)"),
            ("[{} {}]", 1, "expected ',' or ']' at column 5 ( {}])"),
            ("[{},]", 1, "expected a value at column 5 (])"),
            ("[{}]x", 1, "something behind the array at column 5 (]x)"),
            ("[{}", 1, "ends too early at column 4 ()"),
            ("[", 0, "ends too early at column 2 ()"),
            ("{}", 0, "expected an array at column 1 ({})"),
            ("", 0, "ends too early at column 1 ()"),
        ] {
            let elements = split(line);
            assert_eq!(elements.len(), good + 1, "{line}");
            assert_eq!(elements[good], Err(message.into()), "{line}");
        }
    }

    #[test]
    fn depth_is_that_of_the_event_not_of_the_array() {
        let deep = |levels: usize| format!("[{{\"a\":{}{}}}]", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let line = deep(crate::events::JSON_DEPTH_MAX);
        assert!(split_array(line.as_bytes()).all(|element| element.is_ok()));
        let line = deep(10_000);
        let elements: Vec<_> = split_array(line.as_bytes()).collect();
        assert_eq!(elements.len(), 1);
        assert_eq!(elements[0].as_ref().unwrap_err().flaw.kind, FlawKind::TooDeep);
        let line = "[".repeat(5_000_000);
        assert_eq!(split_array(line.as_bytes()).count(), 1);
    }
}
