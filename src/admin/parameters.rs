//! What stands behind the `?` of a request, held to what its route describes: so that nothing is taken that the description does not
//! name, and whoever is wrong is told which parameter it is. What texts mean is the handlers' to judge.
use super::problem::Problem;
use crate::telemetry::printable::printable;
use actix_web::web::Query;
use serde_json::Value;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{Required, Schema};

/// What of a name or a value is said back, characters.
const SAID_CHARS_MAX: usize = 64;

/// A parameter of a query string.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taken {
    name: String,
    is_required: bool,
    form: Form,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Text,
    Whole { min: u64, max: u64 },
    Flag,
    OneOf(Vec<String>),
}

impl Taken {
    /// `None`: it stands elsewhere.
    pub fn of(parameter: &Parameter) -> Option<Taken> {
        if parameter.parameter_in != ParameterIn::Query {
            return None;
        }
        let schema = parameter.schema.as_ref().map(|schema| serde_json::to_value(schema).unwrap_or_default());
        let form = schema.as_ref().map_or(Form::Text, Form::of);
        Some(Taken { name: parameter.name.clone(), is_required: parameter.required == Required::True, form })
    }
}

impl Form {
    fn of(schema: &Value) -> Form {
        // What may be left out is described as one of: nothing, and what it is.
        let choices = ["oneOf", "anyOf"].iter().filter_map(|word| schema[word].as_array()).flatten();
        if let Some(of) = choices.map(Form::of).find(|form| *form != Form::Text) {
            return of;
        }
        if let Some(words) = schema["enum"].as_array() {
            return Form::OneOf(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        let is = |name: &str| schema["type"] == name || schema["type"].as_array().is_some_and(|types| types.iter().any(|one| one == name));
        match () {
            () if is("integer") => {
                let bound = |name: &str| schema[name].as_f64().map(|bound| bound as u64);
                Form::Whole { min: bound("minimum").unwrap_or(0), max: bound("maximum").unwrap_or(u64::MAX) }
            }
            () if is("boolean") => Form::Flag,
            () => Form::Text,
        }
    }

    /// What it has to be, unless it is that.
    fn refuses(&self, value: &str) -> Option<String> {
        match self {
            Form::Text => None,
            // As the handlers read them: `u64` takes a `+` as well.
            Form::Whole { min, max } => (!value.parse().is_ok_and(|number| (*min..=*max).contains(&number))).then(|| match *max {
                u64::MAX => format!("a whole number from {min}"),
                max => format!("a whole number from {min} to {max}"),
            }),
            Form::Flag => (!matches!(value, "true" | "false")).then(|| "true or false".to_owned()),
            Form::OneOf(words) => (!words.iter().any(|word| word == value)).then(|| format!("one of {}", words.join(", "))),
        }
    }
}

/// Whether a query string is one that the route takes; the problem names the parameter that is wrong.
pub(super) fn check(taken: &[Taken], query: &str) -> Result<(), Problem> {
    let wrong = |name: &str, detail: String| Problem { parameter: Some(said(name).into()), ..Problem::bad_request(&detail) };
    let given = Query::<Vec<(String, String)>>::from_query(query).map_err(|error| Problem::bad_request(&error))?.into_inner();
    for (at, (name, value)) in given.iter().enumerate() {
        let Some(Taken { form, .. }) = taken.iter().find(|taken| taken.name == *name) else {
            let names: Vec<&str> = taken.iter().map(|taken| taken.name.as_str()).collect();
            let there_are = if names.is_empty() { "this takes none".to_owned() } else { format!("this takes {}", names.join(", ")) };
            return Err(wrong(name, format!("there is no parameter `{}` here: {there_are}", said(name))));
        };
        if given[..at].iter().any(|(before, _)| before == name) {
            return Err(wrong(name, format!("`{name}` is given more than once")));
        }
        if let Some(must) = form.refuses(value) {
            return Err(wrong(name, format!("`{name}` must be {must}, and is `{}`", said(value))));
        }
    }
    match taken.iter().find(|taken| taken.is_required && given.iter().all(|(name, _)| *name != taken.name)) {
        Some(Taken { name, .. }) => Err(wrong(name, format!("`{name}` is missing"))),
        None => Ok(()),
    }
}

fn said(text: &str) -> String {
    printable(&text.chars().take(SAID_CHARS_MAX).collect::<String>()).into_owned()
}

/// A text that is one of these, for a description.
pub(super) fn one_of<'w>(words: impl IntoIterator<Item = &'w str>) -> Schema {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    let words: Vec<&str> = words.into_iter().collect();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use utoipa::IntoParams;

    #[derive(utoipa::ToSchema)]
    #[schema(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only described")]
    enum Kind {
        Small,
        VeryLarge,
    }

    #[derive(IntoParams)]
    #[expect(dead_code, reason = "only described")]
    struct Asked {
        query: String,
        #[param(minimum = 1, maximum = 1_000)]
        limit: Option<u64>,
        #[param(inline)]
        kind: Option<Kind>,
        newest: Option<bool>,
        cursor: Option<String>,
    }

    #[test]
    fn what_is_not_described_is_not_taken() {
        let taken: Vec<Taken> = Asked::into_params(|| Some(ParameterIn::Query)).iter().filter_map(Taken::of).collect();
        let all = "query=&limit=1000&kind=very_large&newest=false&cursor=%ff%20";
        for good in ["query=", "query=a&limit=1", all] {
            assert_eq!(check(&taken, good), Ok(()), "{good}");
        }
        for (bad, name, detail) in [
            ("", "query", "`query` is missing"),
            ("limit=5", "query", "`query` is missing"),
            ("query=a&query=b", "query", "`query` is given more than once"),
            ("query=a&limit=0", "limit", "`limit` must be a whole number from 1 to 1000, and is `0`"),
            ("query=a&limit=99999999999999999999", "limit", "`limit` must be a whole number from 1 to 1000, and is `99999999999999999999`"),
            ("query=a&limit=-1", "limit", "`limit` must be a whole number from 1 to 1000, and is `-1`"),
            ("query=a&limit=1.5", "limit", "`limit` must be a whole number from 1 to 1000, and is `1.5`"),
            ("query=a&limit=", "limit", "`limit` must be a whole number from 1 to 1000, and is ``"),
            ("query=a&kind=huge", "kind", "`kind` must be one of small, very_large, and is `huge`"),
            ("query=a&newest=yes", "newest", "`newest` must be true or false, and is `yes`"),
            ("query=a&Limit=5", "Limit", "there is no parameter `Limit` here: this takes query, limit, kind, newest, cursor"),
            ("query=a&=", "", "there is no parameter `` here: this takes query, limit, kind, newest, cursor"),
        ] {
            let problem = check(&taken, bad).unwrap_err();
            assert_eq!((problem.status, problem.parameter.as_deref(), problem.detail.as_str()), (400, Some(name), detail), "{bad}");
        }
        assert_eq!(check(&[], "x=1").unwrap_err().detail, "there is no parameter `x` here: this takes none");
        let hostile = format!("{}=1", "%1b%5b2J".repeat(1_000));
        let problem = check(&taken, &hostile).unwrap_err();
        assert!(problem.detail.len() < 1_000 && !problem.detail.contains('\u{1b}'), "{problem:?}");
    }
}
