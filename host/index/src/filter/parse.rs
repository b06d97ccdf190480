//! Parses a filter from JSON, with an error message and a pointer for every mistake.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Map, Value as Json};

use super::evaluate::{Comparison, Predicate};
use super::{Condition, FilterError, Node};
use crate::fold::fold_case;
use crate::limits::{
    FILTER_CONDITIONS, FILTER_DEPTH, FILTER_POINTER_BYTES, FILTER_SCANS, FILTER_VALUES,
};
use crate::metadata::Scalar;

const OPERATORS: &str =
    "eq, ne, gt, gte, lt, lte, in, nin, contains, icontains, exists and between";

/// Parses a whole filter.
pub(super) fn filter(filter: &Json) -> Result<Node, FilterError> {
    match filter {
        Json::Object(members) if members.is_empty() => Ok(Node::All(Vec::new())),
        _ => Parser { conditions: 0, scans: 0 }.filter(filter, &Pointer::Whole, 0),
    }
}

/// A location in the filter. It is written out as a JSON pointer only for an error: with long
/// names, a string per location would cost far more than the rest of parsing.
pub(super) enum Pointer<'a> {
    Whole,
    Member(&'a Pointer<'a>, &'a str),
    Element(&'a Pointer<'a>, usize),
}

impl<'a> Pointer<'a> {
    pub(super) fn member(&'a self, name: &'a str) -> Self {
        Self::Member(self, name)
    }

    pub(super) fn element(&'a self, number: usize) -> Self {
        Self::Element(self, number)
    }

    fn refuse<T>(&self, message: impl Into<String>) -> Result<T, FilterError> {
        Err(self.error(message))
    }

    pub(super) fn error(&self, message: impl Into<String>) -> FilterError {
        let mut pointer = String::new();
        self.write(&mut pointer);
        FilterError { pointer, message: message.into() }
    }

    /// Appends the segments that fit into [`FILTER_POINTER_BYTES`]; returns whether all did.
    fn write(&self, pointer: &mut String) -> bool {
        let (parent, segment) = match self {
            Self::Whole => return true,
            Self::Member(parent, name) => (parent, Cow::Borrowed(*name)),
            Self::Element(parent, number) => (parent, Cow::Owned(number.to_string())),
        };
        let has_room =
            parent.write(pointer) && pointer.len() + segment.len() < FILTER_POINTER_BYTES;
        if has_room {
            pointer.push('/');
            pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        }
        has_room
    }
}

struct Parser {
    conditions: usize,
    /// Conditions with `contains` or `icontains`.
    scans: usize,
}

impl Parser {
    fn filter(
        &mut self,
        filter: &Json,
        at: &Pointer<'_>,
        depth: usize,
    ) -> Result<Node, FilterError> {
        let Json::Object(members) = filter else {
            return at.refuse("a filter is a JSON object, such as {\"topic\": \"x\"}");
        };
        if members.is_empty() {
            return at.refuse("this filter is empty; name a field, or leave the filter out");
        }
        let mut nodes = Vec::new();
        for (name, value) in members {
            let at = at.member(name);
            nodes.push(match name.as_str() {
                "AND" | "and" => Node::All(self.filters(value, &at, depth + 1)?),
                "OR" | "or" => Node::Any(self.filters(value, &at, depth + 1)?),
                "NOT" | "not" => not(self.negated(value, &at, depth + 1)?),
                field => self.field(field, value, &at)?,
            });
        }
        Ok(all(nodes))
    }

    fn filters(
        &mut self,
        value: &Json,
        at: &Pointer<'_>,
        depth: usize,
    ) -> Result<Vec<Node>, FilterError> {
        let Json::Array(filters) = value else {
            return at.refuse("AND and OR take a list of filters");
        };
        if filters.is_empty() {
            return at.refuse("this list is empty; give at least one filter");
        }
        check_depth(at, depth)?;
        let numbered = filters.iter().enumerate();
        numbered.map(|(number, filter)| self.filter(filter, &at.element(number), depth)).collect()
    }

    fn negated(
        &mut self,
        value: &Json,
        at: &Pointer<'_>,
        depth: usize,
    ) -> Result<Node, FilterError> {
        match value {
            Json::Array(_) => self.filters(value, at, depth).map(Node::Any),
            Json::Object(_) => {
                check_depth(at, depth)?;
                self.filter(value, at, depth)
            }
            _ => at.refuse("NOT takes a filter or a list of filters"),
        }
    }

    fn field(&mut self, field: &str, value: &Json, at: &Pointer<'_>) -> Result<Node, FilterError> {
        match value {
            Json::Object(operators) => self.operators(field, operators, at),
            Json::Array(_) => at.refuse(format!(
                "a field takes one value or an object of operators, not a list; \
                 \"in\" takes a list. Operators: {OPERATORS}"
            )),
            scalar => {
                self.count(at)?;
                Ok(condition(field, Predicate::OneOf(vec![any_scalar(scalar, at)?])))
            }
        }
    }

    fn operators(
        &mut self,
        field: &str,
        operators: &Map<String, Json>,
        at: &Pointer<'_>,
    ) -> Result<Node, FilterError> {
        if operators.is_empty() {
            return at.refuse(format!("no operator is given; use one of {OPERATORS}"));
        }
        let mut nodes = Vec::new();
        for (operator, operand) in operators {
            let at = at.member(operator);
            self.count(&at)?;
            if matches!(operator.as_str(), "contains" | "icontains") {
                self.count_scan(&at)?;
            }
            nodes.push(operation(field, operator, operand, &at)?);
        }
        Ok(all(nodes))
    }

    fn count(&mut self, at: &Pointer<'_>) -> Result<(), FilterError> {
        self.conditions += 1;
        if self.conditions > FILTER_CONDITIONS {
            return at.refuse(format!("a filter has at most {FILTER_CONDITIONS} conditions"));
        }
        Ok(())
    }

    fn count_scan(&mut self, at: &Pointer<'_>) -> Result<(), FilterError> {
        self.scans += 1;
        if self.scans > FILTER_SCANS {
            return at.refuse(format!(
                "a filter has at most {FILTER_SCANS} conditions with contains or icontains"
            ));
        }
        Ok(())
    }
}

fn check_depth(at: &Pointer<'_>, depth: usize) -> Result<(), FilterError> {
    if depth > FILTER_DEPTH {
        return at.refuse(format!("AND, OR and NOT nest at most {FILTER_DEPTH} deep"));
    }
    Ok(())
}

fn operation(
    field: &str,
    operator: &str,
    operand: &Json,
    at: &Pointer<'_>,
) -> Result<Node, FilterError> {
    let compares = |comparison| Ok(Predicate::Compares(comparison, ordered(operand, at)?));
    let predicate = match operator {
        "eq" | "ne" => Predicate::OneOf(vec![any_scalar(operand, at)?]),
        "in" | "nin" => Predicate::OneOf(scalars(operand, at)?),
        "gt" => compares(Comparison::Greater)?,
        "gte" => compares(Comparison::GreaterOrEqual)?,
        "lt" => compares(Comparison::Less)?,
        "lte" => compares(Comparison::LessOrEqual)?,
        "between" => between(operand, at)?,
        "contains" => Predicate::Contains(any_scalar(operand, at)?),
        "icontains" => match operand {
            Json::String(text) => Predicate::ContainsIgnoringCase(fold_case(text).into()),
            _ => return at.refuse("icontains takes a text"),
        },
        "exists" => match operand {
            Json::Bool(true) => Predicate::Exists,
            Json::Bool(false) => return Ok(not(condition(field, Predicate::Exists))),
            _ => return at.refuse("exists takes true or false"),
        },
        _ => return at.refuse(unknown(operator)),
    };
    let node = condition(field, predicate);
    Ok(if matches!(operator, "ne" | "nin") { not(node) } else { node })
}

fn unknown(operator: &str) -> String {
    let mut message = String::from("there is no operator ");
    let mut shown = operator.chars();
    // Enough to recognize it; a hostile name must not bloat the message.
    let _ = write!(message, "{:?}", shown.by_ref().take(40).collect::<String>());
    if shown.next().is_some() {
        message.push('…');
    }
    message + "; use one of " + OPERATORS
}

fn any_scalar(operand: &Json, at: &Pointer<'_>) -> Result<Scalar, FilterError> {
    match Scalar::new(operand) {
        Some(scalar) => Ok(scalar),
        None => at.refuse("this takes one text, number, bool or null"),
    }
}

fn ordered(operand: &Json, at: &Pointer<'_>) -> Result<Scalar, FilterError> {
    match Scalar::new(operand) {
        Some(scalar @ (Scalar::Number(_) | Scalar::Text(_) | Scalar::Time(_))) => Ok(scalar),
        _ => at.refuse("this takes a number or a text"),
    }
}

fn scalars(operand: &Json, at: &Pointer<'_>) -> Result<Vec<Scalar>, FilterError> {
    let Json::Array(values) = operand else {
        return at.refuse("in and nin take a list of texts, numbers, bools or nulls");
    };
    if values.len() > FILTER_VALUES {
        return at.refuse(format!("in and nin take at most {FILTER_VALUES} values"));
    }
    let numbered = values.iter().enumerate();
    let scalars = numbered.map(|(number, value)| any_scalar(value, &at.element(number)));
    let mut scalars = scalars.collect::<Result<Vec<_>, _>>()?;
    scalars.sort_unstable();
    Ok(scalars)
}

fn between(operand: &Json, at: &Pointer<'_>) -> Result<Predicate, FilterError> {
    let wrong = "between takes a list of two numbers or two texts, the lower one first";
    let Json::Array(ends) = operand else {
        return at.refuse(wrong);
    };
    let [low, high] = ends.as_slice() else {
        return at.refuse(wrong);
    };
    let (low, high) = (ordered(low, &at.element(0))?, ordered(high, &at.element(1))?);
    if low.text().is_some() != high.text().is_some() {
        return at.refuse(wrong);
    }
    Ok(Predicate::Between(low, high))
}

fn condition(field: &str, predicate: Predicate) -> Node {
    Node::Condition(Condition { field: field.into(), predicate })
}

fn not(node: Node) -> Node {
    Node::Not(Box::new(node))
}

fn all(mut nodes: Vec<Node>) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        last => {
            nodes.extend(last);
            Node::All(nodes)
        }
    }
}
