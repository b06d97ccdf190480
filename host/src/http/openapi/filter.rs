//! The schema of search filters, which the logic parses itself.

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

const DESCRIPTION: &str = "\
    A condition over metadata. All of an object's members must hold.\n\
    \n\
    | member | holds when |\n\
    |---|---|\n\
    | `\"topic\": \"x\"` | the field equals the string, number, boolean or null: short for \
    `eq` |\n\
    | `\"age\": {\"gte\": 3, \"lt\": 9}` | every operator holds |\n\
    | `\"AND\": [..]`, `\"OR\": [..]` | all, or any, of the filters hold |\n\
    | `\"NOT\": {..}` or `\"NOT\": [..]` | the filter does not hold, or none of them does |\n\
    \n\
    `and`, `or` and `not` mean the same. They nest at most 16 deep; a filter has at most 256 \
    conditions.\n\
    \n\
    | operator | operand | holds when |\n\
    |---|---|---|\n\
    | `eq` | a scalar | the field equals it |\n\
    | `ne` | a scalar | `eq` does not hold; also where the field is missing |\n\
    | `gt` `gte` `lt` `lte` | a number or a string | the field is greater than it, and so on \
    |\n\
    | `between` | a list of two | the field is from the first to the second, both included |\n\
    | `in` | a list of at most 1,024 scalars | the field equals one of them |\n\
    | `nin` | a list of at most 1,024 scalars | `in` does not hold; also where the field is \
    missing |\n\
    | `contains` | a scalar | the field is a string with this in it, or a list with this \
    among its elements |\n\
    | `icontains` | a string | as `contains`, ignoring case as Unicode folds it: `STRASSE` is \
    in `Straße` |\n\
    | `exists` | a boolean | with true, the field is there, even if it is null; with false, \
    it is not |\n\
    \n\
    A dot reaches into objects, unless a field has exactly that name: `a.b` is the field \
    `a.b`, or otherwise `b` in the object `a`. If `a` is a list, `a.b` is `b` in each object of \
    the list, and one that fits is enough. `eq`, `in`, `contains` and `icontains` hold for a list \
    when they hold for one of its elements.\n\
    \n\
    `$timestamp` is the fact's own time; a member `timestamp` of the metadata is a field like any \
    other. Strings that are times, such as `2026-03-01T18:30:00+09:00`, compare as instants. A \
    time without an offset is read as UTC, and a date alone as its first instant. All other \
    strings compare by code point. Values of different JSON types are never equal, and neither \
    is greater.\n\
    \n\
    `{}` holds for every fact. An unknown operator, or a member given twice, is refused with \
    `invalid_filter`.";

/// Members that combine filters, in both spellings, and what each says.
const LISTS: [(&str, &str); 4] = [
    ("AND", "All of them hold; at least one."),
    ("and", "All of them hold; at least one."),
    ("OR", "Any of them holds; at least one."),
    ("or", "Any of them holds; at least one."),
];

/// What a search takes as its filter: `{}`, too, which a filter within a filter is not.
pub(in crate::http) enum WholeFilter {}

impl PartialSchema for WholeFilter {
    fn schema() -> RefOr<Schema> {
        let empty =
            ObjectBuilder::new().max_properties(Some(0)).description(Some("Holds for every fact."));
        let none = ObjectBuilder::new().schema_type(Type::Null);
        AnyOfBuilder::new().item(reference::<Filter>()).item(empty).item(none).into()
    }
}

impl ToSchema for WholeFilter {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Filter::name().into(), Filter::schema()));
        Filter::schemas(schemas);
    }
}

/// A condition over metadata.
enum Filter {}

impl PartialSchema for Filter {
    fn schema() -> RefOr<Schema> {
        let mut filter =
            ObjectBuilder::new().min_properties(Some(1)).description(Some(DESCRIPTION));
        for (name, description) in LISTS {
            filter = filter.property(name, filters().description(Some(description)));
        }
        for name in ["NOT", "not"] {
            let either = AnyOfBuilder::new().item(reference::<Self>()).item(filters());
            let description = "It does not hold, or none of them does.";
            filter = filter.property(name, either.description(Some(description)));
        }
        let value = AnyOfBuilder::new().item(scalar()).item(reference::<Condition>());
        filter
            .additional_properties(Some(AdditionalProperties::RefOr(value.into())))
            .examples([
                json!({ "topic": "network" }),
                json!({
                    "year": { "between": [2024, 2026] },
                    "NOT": { "topic": { "in": ["draft", "test"] } },
                }),
                json!({ "OR": [{ "verified": true }, { "owner.name": { "icontains": "ada" } }] }),
            ])
            .into()
    }
}

impl ToSchema for Filter {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Condition::name().into(), Condition::schema()));
    }
}

/// Operators on one field.
enum Condition {}

impl PartialSchema for Condition {
    fn schema() -> RefOr<Schema> {
        let list = || ArrayBuilder::new().items(scalar()).max_items(Some(1_024));
        let ends = |of: Type| {
            let end = ObjectBuilder::new().schema_type(of);
            ArrayBuilder::new().items(end).min_items(Some(2)).max_items(Some(2))
        };
        let ends = AnyOfBuilder::new().item(ends(Type::Number)).item(ends(Type::String));
        let text = ObjectBuilder::new().schema_type(Type::String);
        let flag = ObjectBuilder::new().schema_type(Type::Boolean);
        ObjectBuilder::new()
            .description(Some("Operators on one field; all must hold."))
            .min_properties(Some(1))
            .property("eq", scalar())
            .property("ne", scalar())
            .property("gt", ordered())
            .property("gte", ordered())
            .property("lt", ordered())
            .property("lte", ordered())
            .property("in", list())
            .property("nin", list())
            .property("contains", scalar())
            .property("icontains", text)
            .property("exists", flag)
            .property("between", ends)
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for Condition {}

fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

/// At least one, which the schema leaves to the description: generators of requests do not come to
/// an end where a schema demands itself.
fn filters() -> ArrayBuilder {
    ArrayBuilder::new().items(reference::<Filter>())
}

fn scalar() -> ObjectBuilder {
    let types = [Type::String, Type::Number, Type::Boolean, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types))
}

fn ordered() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Number]))
}
