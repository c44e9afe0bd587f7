//! Converts YAML with CloudFormation's short tags to JSON in the long form: `!Ref X` becomes `{"Ref": "X"}`.

use saphyr::{LoadableYamlNode as _, ScalarOwned, YamlOwned};
use serde_json::{Map, Number, Value, json};

use super::error::TemplateError;

/// Parses a text that contains one YAML document.
pub(crate) fn parse(text: &str) -> Result<Value, TemplateError> {
    let documents =
        YamlOwned::load_from_str(text).map_err(|error| TemplateError::Yaml(error.to_string()))?;
    match documents.as_slice() {
        [document] => convert(document),
        _ => Err(TemplateError::Yaml(format!("it contains {} documents", documents.len()))),
    }
}

fn convert(node: &YamlOwned) -> Result<Value, TemplateError> {
    Ok(match node {
        YamlOwned::Value(scalar) => match scalar {
            ScalarOwned::Null => Value::Null,
            ScalarOwned::Boolean(value) => json!(value),
            ScalarOwned::Integer(value) => json!(value),
            ScalarOwned::FloatingPoint(value) => {
                Number::from_f64(value.into_inner()).map_or(Value::Null, Value::Number)
            }
            ScalarOwned::String(value) => json!(value),
        },
        YamlOwned::Representation(text, ..) => json!(text),
        YamlOwned::Sequence(items) => {
            Value::Array(items.iter().map(convert).collect::<Result<_, _>>()?)
        }
        YamlOwned::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = match convert(key)? {
                    Value::String(key) => key,
                    // Keys such as ports and account ids.
                    Value::Number(key) => key.to_string(),
                    Value::Bool(key) => key.to_string(),
                    other => return Err(TemplateError::Yaml(format!("{other} is not a key"))),
                };
                map.insert(key, convert(value)?);
            }
            Value::Object(map)
        }
        YamlOwned::Tagged(tag, node) if tag.handle == "!" => {
            intrinsic(&tag.suffix, convert(node)?)?
        }
        YamlOwned::Tagged(tag, _) => {
            return Err(TemplateError::Yaml(format!("unknown tag {tag:?}")));
        }
        YamlOwned::Alias(_) | YamlOwned::BadValue => {
            return Err(TemplateError::Yaml("invalid scalar or alias".into()));
        }
    })
}

fn intrinsic(tag: &str, value: Value) -> Result<Value, TemplateError> {
    let name = match tag {
        "Ref" | "Condition" => tag.to_owned(),
        _ => format!("Fn::{tag}"),
    };
    let value = match (tag, value) {
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').ok_or_else(|| {
                TemplateError::Yaml(format!("!GetAtt {path} does not name an attribute"))
            })?;
            json!([resource, attribute])
        }
        (_, value) => value,
    };
    Ok(json!({ name: value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_the_long_form() {
        let value = parse(
            "A: !Ref X\nB: !GetAtt Q.Arn\nC: !GetAtt [Q, Arn]\nD: !If [Is, !Sub '${X}!', !Ref 'AWS::NoValue']\n\
             E: {'Fn::Join': [',', [1, '2']]}\nF: !Not [!Condition Is]\n",
        );
        let expected = json!({
            "A": {"Ref": "X"},
            "B": {"Fn::GetAtt": ["Q", "Arn"]},
            "C": {"Fn::GetAtt": ["Q", "Arn"]},
            "D": {"Fn::If": ["Is", {"Fn::Sub": "${X}!"}, {"Ref": "AWS::NoValue"}]},
            "E": {"Fn::Join": [",", [1, "2"]]},
            "F": {"Fn::Not": [{"Condition": "Is"}]},
        });
        assert_eq!(value.unwrap(), expected);
    }

    #[test]
    fn dates_and_quoted_numbers_remain_text() {
        let value = parse("V: 2010-09-09\nW: '012345678901'\nX: 10\nY: false\n").unwrap();
        let expected = json!({"V": "2010-09-09", "W": "012345678901", "X": 10, "Y": false});
        assert_eq!(value, expected);
    }
}
