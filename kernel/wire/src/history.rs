//! What was typed in this session?
//!
//! Kept in memory: the session is number 1, the only one. A console asks for the tail when it starts and searches
//! while its user types; an entry is `(session, line, input)` or `(session, line, (input, output))`.

use serde_json::{Value, json};

use crate::glob;

const SESSION: i64 = 1;

/// The cells that counted.
#[derive(Debug, Default)]
pub(crate) struct History(Vec<Line>);

#[derive(Debug)]
struct Line {
    number: usize,
    input: String,
    output: Option<String>,
}

impl History {
    /// Adds a cell before it runs.
    pub(crate) fn add(&mut self, number: usize, input: &str) {
        self.0.push(Line {
            number,
            input: input.into(),
            output: None,
        });
    }

    /// Adds the value of the cell that was added last.
    pub(crate) fn set_output(&mut self, output: &str) {
        if let Some(last) = self.0.last_mut() {
            last.output = Some(output.into());
        }
    }

    /// The entries that a `history_request` asks for.
    pub(crate) fn answer(&self, request: &Value) -> Vec<Value> {
        let lines = match request["hist_access_type"].as_str() {
            Some("tail") => last(self.0.iter().collect(), request["n"].as_u64()),
            Some("range") => self.range(request),
            Some("search") => self.search(request),
            _ => Vec::new(),
        };
        let output = request["output"].as_bool().unwrap_or(false);
        lines.into_iter().map(|line| line.entry(output)).collect()
    }

    /// From line `start` to the one before `stop`; negative numbers count from the end, 0 as `stop` is the end.
    fn range(&self, request: &Value) -> Vec<&Line> {
        let session = request["session"].as_i64().unwrap_or(0);
        if session != 0 && session != SESSION {
            return Vec::new();
        }
        let end = self.0.last().map_or(1, |line| line.number as i64 + 1);
        let from_end = |number: i64| if number < 0 { end + number } else { number };
        let start = from_end(request["start"].as_i64().unwrap_or(0));
        let stop = match request["stop"].as_i64() {
            None | Some(0) => end,
            Some(stop) => from_end(stop),
        };
        self.0
            .iter()
            .filter(|line| (start..stop).contains(&(line.number as i64)))
            .collect()
    }

    fn search(&self, request: &Value) -> Vec<&Line> {
        let pattern = request["pattern"].as_str().unwrap_or("*");
        let mut found: Vec<&Line> = self
            .0
            .iter()
            .filter(|line| glob::matches(pattern, &line.input))
            .collect();
        if request["unique"].as_bool().unwrap_or(false) {
            found = latest_of_each(found);
        }
        last(found, request["n"].as_u64())
    }
}

impl Line {
    fn entry(&self, output: bool) -> Value {
        if output {
            json!([SESSION, self.number, [self.input, self.output]])
        } else {
            json!([SESSION, self.number, self.input])
        }
    }
}

fn last(mut lines: Vec<&Line>, count: Option<u64>) -> Vec<&Line> {
    let count = count.map_or(lines.len(), |count| lines.len().min(count as usize));
    lines.split_off(lines.len() - count)
}

fn latest_of_each(lines: Vec<&Line>) -> Vec<&Line> {
    let mut seen = std::collections::HashSet::new();
    let mut latest: Vec<&Line> = lines
        .into_iter()
        .rev()
        .filter(|line| seen.insert(line.input.as_str()))
        .collect();
    latest.reverse();
    latest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let mut history = History::default();
        for (index, input) in ["let a = 1;", "a", "fn f() {}", "a"]
            .into_iter()
            .enumerate()
        {
            history.add(index + 1, input);
            if input == "a" {
                history.set_output("1");
            }
        }
        history
    }

    fn lines(request: &Value) -> Vec<i64> {
        history()
            .answer(request)
            .iter()
            .map(|entry| entry[1].as_i64().unwrap())
            .collect()
    }

    #[test]
    fn tail_is_the_last_n_in_the_order_typed() {
        assert_eq!(lines(&json!({"hist_access_type": "tail", "n": 2})), [3, 4]);
        assert_eq!(
            lines(&json!({"hist_access_type": "tail", "n": 9})),
            [1, 2, 3, 4]
        );
        assert_eq!(lines(&json!({"hist_access_type": "tail", "n": 0})), [0; 0]);
    }

    #[test]
    fn range_excludes_its_stop_and_counts_back_from_the_end() {
        let range = |start: i64, stop: Option<i64>, session: i64| {
            lines(
                &json!({"hist_access_type": "range", "session": session, "start": start, "stop": stop}),
            )
        };
        assert_eq!(range(2, Some(4), 0), [2, 3]);
        assert_eq!(range(0, None, 1), [1, 2, 3, 4]);
        assert_eq!(range(-2, Some(-1), 0), [3]);
        assert_eq!(range(1, Some(0), 0), [1, 2, 3, 4]);
        assert_eq!(range(1, None, 7), [0; 0]);
    }

    #[test]
    fn search_is_a_pattern_and_unique_keeps_the_latest() {
        let search = |more: Value| {
            let mut request = json!({"hist_access_type": "search"});
            request
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            lines(&request)
        };
        assert_eq!(search(json!({"pattern": "*a*"})), [1, 2, 4]);
        assert_eq!(search(json!({"pattern": "a", "unique": true})), [4]);
        assert_eq!(search(json!({"pattern": "*", "unique": true})), [1, 3, 4]);
        assert_eq!(search(json!({"pattern": "*", "n": 1})), [4]);
        assert_eq!(search(json!({"pattern": "b*"})), [0; 0]);
    }

    #[test]
    fn output_comes_beside_the_input() {
        let entries =
            history().answer(&json!({"hist_access_type": "tail", "n": 2, "output": true}));
        assert_eq!(
            entries,
            [
                json!([1, 3, ["fn f() {}", null]]),
                json!([1, 4, ["a", "1"]])
            ]
        );
    }

    #[test]
    fn request_without_a_known_type_is_empty() {
        assert_eq!(lines(&json!({})), [0; 0]);
        assert_eq!(lines(&json!({"hist_access_type": "dream"})), [0; 0]);
    }
}
