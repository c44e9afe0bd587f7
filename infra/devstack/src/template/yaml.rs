//! YAML with CloudFormation's short tags, as JSON in the long form: `!Ref X` becomes `{"Ref": "X"}`.

use saphyr::{LoadableYamlNode as _, ScalarOwned, YamlOwned};
use serde_json::{Map, Number, Value, json};

use super::TemplateError;

/// Reads the one document of `text`.
pub(super) fn read(text: &str) -> Result<Value, TemplateError> {
    let documents =
        YamlOwned::load_from_str(text).map_err(|error| TemplateError::Yaml(error.to_string()))?;
    match documents.as_slice() {
        [document] => convert(document),
        _ => Err(TemplateError::Yaml(format!(
            "it holds {} documents",
            documents.len()
        ))),
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
                    // A mapping keyed by account ids or ports.
                    Value::Number(key) => key.to_string(),
                    Value::Bool(key) => key.to_string(),
                    other => return Err(TemplateError::Yaml(format!("{other} is used as a key"))),
                };
                map.insert(key, convert(value)?);
            }
            Value::Object(map)
        }
        YamlOwned::Tagged(tag, node) if tag.handle == "!" => {
            intrinsic(&tag.suffix, convert(node)?)?
        }
        YamlOwned::Tagged(tag, _) => {
            return Err(TemplateError::Yaml(format!(
                "the tag {tag:?} is not CloudFormation's"
            )));
        }
        YamlOwned::Alias(_) | YamlOwned::BadValue => {
            return Err(TemplateError::Yaml(
                "a scalar or an alias does not read".into(),
            ));
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
            let (resource, attribute) = path
                .split_once('.')
                .ok_or_else(|| TemplateError::Yaml(format!("!GetAtt {path} names no attribute")))?;
            json!([resource, attribute])
        }
        (_, value) => value,
    };
    Ok(Value::Object(Map::from_iter([(name, value)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_the_long_form() {
        let value = read(
            "A: !Ref X\nB: !GetAtt Q.Arn\nC: !GetAtt [Q, Arn]\nD: !If [Is, !Sub '${X}!', !Ref 'AWS::NoValue']\n\
             E: {'Fn::Join': [',', [1, '2']]}\nF: !Not [!Condition Is]\n",
        )
        .unwrap();
        assert_eq!(
            value,
            json!({
                "A": {"Ref": "X"},
                "B": {"Fn::GetAtt": ["Q", "Arn"]},
                "C": {"Fn::GetAtt": ["Q", "Arn"]},
                "D": {"Fn::If": ["Is", {"Fn::Sub": "${X}!"}, {"Ref": "AWS::NoValue"}]},
                "E": {"Fn::Join": [",", [1, "2"]]},
                "F": {"Fn::Not": [{"Condition": "Is"}]},
            })
        );
    }

    #[test]
    fn dates_and_quoted_numbers_stay_text() {
        let value = read("V: 2010-09-09\nW: '012345678901'\nX: 10\nY: false\n").unwrap();
        assert_eq!(
            value,
            json!({"V": "2010-09-09", "W": "012345678901", "X": 10, "Y": false})
        );
    }
}
