//! Intrinsic functions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    Declaration, Function, Parameters, Rule, Template, TemplateError, read, resources, text,
};

/// Where a template is deployed, as its pseudo parameters say.
#[derive(Debug, Clone)]
pub struct Stage {
    /// `AWS::Region`.
    pub region: String,
    /// `AWS::AccountId`.
    pub account_id: String,
    /// `AWS::StackName`.
    pub stack_name: String,
}

/// What a resource is called once it exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Physical {
    /// What `Ref` gives.
    pub reference: String,
    /// What `GetAtt` gives, by attribute.
    pub attributes: BTreeMap<String, String>,
}

impl Physical {
    /// A resource by its `Ref` and its `Arn`.
    pub fn new(reference: impl Into<String>, arn: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            attributes: BTreeMap::from([("Arn".to_owned(), arn.into())]),
        }
    }

    /// With one more attribute.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(attribute.to_owned(), value.into());
        self
    }
}

/// Resolves a template while its resources come into being, one after the other.
#[derive(Debug)]
pub struct Resolver<'a> {
    template: &'a Template,
    parameters: &'a Parameters,
    stage: Stage,
    physical: BTreeMap<String, Physical>,
}

type Resolved = Result<Option<Value>, TemplateError>;

impl<'a> Resolver<'a> {
    /// A resolver that knows no resource yet.
    pub fn new(template: &'a Template, parameters: &'a Parameters, stage: Stage) -> Self {
        Self {
            template,
            parameters,
            stage,
            physical: BTreeMap::new(),
        }
    }

    /// From now on `Ref` and `GetAtt` of this resource have values.
    pub fn define(&mut self, logical: &str, physical: Physical) {
        self.physical.insert(logical.to_owned(), physical);
    }

    /// What a resource is called, if it was defined.
    pub fn physical(&self, logical: &str) -> Option<&Physical> {
        self.physical.get(logical)
    }

    /// Whether the resource's condition holds.
    ///
    /// # Errors
    /// If the condition does not resolve.
    pub fn is_wanted(&self, logical: &str) -> Result<bool, TemplateError> {
        match self
            .template
            .resources
            .get(logical)
            .map(|resource| resource.condition.as_deref())
        {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(condition)) => self.condition(condition),
        }
    }

    /// Other resources that this one's properties name.
    pub fn references(&self, logical: &str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        if let Some(resource) = self.template.resources.get(logical) {
            self.collect(&resource.properties, &mut found);
        }
        found.remove(logical);
        found
    }

    /// A resource, its properties resolved. Of functions see [`Self::function`].
    ///
    /// # Errors
    /// If something in it does not resolve or does not read.
    pub fn declaration(&self, logical: &str) -> Result<Declaration, TemplateError> {
        let resource = self.resource(logical)?;
        if !resources::is_engine_resource(&resource.kind) {
            return Ok(Declaration::Elsewhere);
        }
        let properties = self
            .resolve(&resource.properties)?
            .unwrap_or(Value::Object(Map::new()));
        resources::declaration(logical, &resource.kind, properties)
    }

    /// A rule of EventBridge's.
    ///
    /// # Errors
    /// If something in it does not resolve or does not read.
    pub fn rule(&self, logical: &str) -> Result<Rule, TemplateError> {
        let resource = self.resource(logical)?;
        let properties = self.resolve(&resource.properties)?;
        read(properties.unwrap_or(Value::Null), logical)
    }

    /// A function with its environment, routes and queues. Its policies are no business of this machine.
    ///
    /// # Errors
    /// If something in it does not resolve or does not read.
    pub fn function(&self, logical: &str) -> Result<Function, TemplateError> {
        let resource = self.resource(logical)?;
        let mut properties = Map::new();
        for name in ["Timeout", "Environment"] {
            if let Some(value) = resource
                .properties
                .get(name)
                .map(|value| self.resolve(value))
                .transpose()?
                .flatten()
            {
                properties.insert(name.to_owned(), value);
            }
        }
        let mut events = Map::new();
        for (name, event) in resource
            .properties
            .get("Events")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let kind = event
                .get("Type")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if matches!(kind, "HttpApi" | "SQS")
                && let Some(event) = self.resolve(event)?
            {
                events.insert(name.clone(), event);
            }
        }
        properties.insert("Events".to_owned(), Value::Object(events));
        resources::function(logical, Value::Object(properties), &resource.metadata)
    }

    /// The template's outputs.
    ///
    /// # Errors
    /// If one does not resolve.
    pub fn outputs(&self) -> Result<BTreeMap<String, String>, TemplateError> {
        let mut outputs = BTreeMap::new();
        for (name, output) in &self.template.outputs {
            if let Some(condition) = output.get("Condition").and_then(Value::as_str)
                && !self.condition(condition)?
            {
                continue;
            }
            let value = output
                .get("Value")
                .map(|value| self.resolve(value))
                .transpose()?
                .flatten();
            if let Some(value) = value.as_ref().and_then(text) {
                outputs.insert(name.clone(), value);
            }
        }
        Ok(outputs)
    }

    fn resource(&self, logical: &str) -> Result<&'a super::Resource, TemplateError> {
        self.template
            .resources
            .get(logical)
            .ok_or_else(|| broken(format!("there is no resource {logical}")))
    }

    fn collect(&self, value: &Value, found: &mut BTreeSet<&'a str>) {
        let mut note = |name: &str| {
            if let Some((logical, _)) = self.template.resources.get_key_value(name) {
                found.insert(logical.as_str());
            }
        };
        match value {
            Value::Object(map) => {
                match single(map) {
                    Some(("Ref", Value::String(name))) => note(name),
                    Some(("Fn::GetAtt", Value::Array(path))) => {
                        path.first()
                            .and_then(Value::as_str)
                            .into_iter()
                            .for_each(note);
                    }
                    Some(("Fn::GetAtt", Value::String(path))) => {
                        path.split('.').next().into_iter().for_each(note);
                    }
                    Some(("Fn::Sub", sub)) => {
                        let pattern = sub.as_str().or_else(|| sub.get(0).and_then(Value::as_str));
                        for part in parts(pattern.unwrap_or_default()) {
                            if let Part::Name(name) = part {
                                note(name.split('.').next().unwrap_or(name));
                            }
                        }
                    }
                    _ => {}
                }
                map.values().for_each(|value| self.collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| self.collect(value, found)),
            _ => {}
        }
    }

    /// `None` is `AWS::NoValue`: whoever holds it drops the entry.
    fn resolve(&self, value: &Value) -> Resolved {
        match value {
            Value::Object(map) => match single(map) {
                Some((name, argument)) if name == "Ref" || name.starts_with("Fn::") => {
                    self.intrinsic(name, argument)
                }
                Some(("Condition", Value::String(name))) => {
                    Ok(Some(Value::Bool(self.condition(name)?)))
                }
                _ => {
                    let mut resolved = Map::new();
                    for (key, value) in map {
                        if let Some(value) = self.resolve(value)? {
                            resolved.insert(key.clone(), value);
                        }
                    }
                    Ok(Some(Value::Object(resolved)))
                }
            },
            Value::Array(items) => {
                let items: Result<Vec<_>, _> = items
                    .iter()
                    .filter_map(|item| self.resolve(item).transpose())
                    .collect();
                Ok(Some(Value::Array(items?)))
            }
            scalar => Ok(Some(scalar.clone())),
        }
    }

    fn intrinsic(&self, name: &str, argument: &Value) -> Resolved {
        let wrong = || broken(format!("{name} {argument} does not read"));
        match name {
            "Ref" => self.reference(argument.as_str().ok_or_else(wrong)?),
            "Fn::GetAtt" => {
                let (resource, attribute) = match argument {
                    Value::String(path) => path.split_once('.').ok_or_else(wrong)?,
                    other => match other.as_array().map(Vec::as_slice) {
                        Some([Value::String(resource), Value::String(attribute)]) => {
                            (resource.as_str(), attribute.as_str())
                        }
                        _ => return Err(wrong()),
                    },
                };
                self.attribute(resource, attribute)
                    .map(|value| Some(Value::String(value)))
            }
            "Fn::Sub" => match argument {
                Value::String(pattern) => self.sub(pattern, &Map::new()),
                _ => match argument.as_array().map(Vec::as_slice) {
                    Some([Value::String(pattern), Value::Object(variables)]) => {
                        self.sub(pattern, variables)
                    }
                    _ => Err(wrong()),
                },
            },
            "Fn::If" => match argument.as_array().map(Vec::as_slice) {
                Some([Value::String(condition), yes, no]) => {
                    self.resolve(if self.condition(condition)? { yes } else { no })
                }
                _ => Err(wrong()),
            },
            "Fn::Not" | "Fn::And" | "Fn::Or" | "Fn::Equals" => self
                .truth(&Value::Object(Map::from_iter([(
                    name.to_owned(),
                    argument.clone(),
                )])))
                .map(|truth| Some(Value::Bool(truth))),
            _ => {
                let arguments = self.resolve(argument)?.ok_or_else(wrong)?;
                pure(name, &arguments, &self.template.mappings).map(Some)
            }
        }
    }

    fn reference(&self, name: &str) -> Resolved {
        let stage = &self.stage;
        let pseudo = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::Region" => Some(stage.region.clone()),
            "AWS::AccountId" => Some(stage.account_id.clone()),
            "AWS::Partition" => Some("aws".to_owned()),
            "AWS::URLSuffix" => Some("amazonaws.com".to_owned()),
            "AWS::StackName" => Some(stage.stack_name.clone()),
            "AWS::StackId" => Some(format!(
                "arn:aws:cloudformation:{}:{}:stack/{}/local",
                stage.region, stage.account_id, stage.stack_name
            )),
            _ => None,
        };
        if let Some(value) = pseudo {
            return Ok(Some(Value::String(value)));
        }
        if let Some(value) = self.parameters.reference(name) {
            return Ok(Some(value));
        }
        match self.physical.get(name) {
            Some(physical) => Ok(Some(Value::String(physical.reference.clone()))),
            None => Err(broken(format!(
                "Ref {name} names neither a parameter nor a resource that exists here"
            ))),
        }
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<String, TemplateError> {
        let value = self
            .physical
            .get(resource)
            .and_then(|physical| physical.attributes.get(attribute));
        value
            .cloned()
            .ok_or_else(|| broken(format!("GetAtt {resource}.{attribute} has no value here")))
    }

    fn sub(&self, pattern: &str, variables: &Map<String, Value>) -> Resolved {
        let mut out = String::new();
        for part in parts(pattern) {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Literal(name) => {
                    out.push_str("${");
                    out.push_str(name);
                    out.push('}');
                }
                Part::Name(name) => {
                    let value = if let Some(value) = variables.get(name) {
                        self.resolve(value)?
                    } else if let (false, Some((resource, attribute))) =
                        (name.contains("::"), name.split_once('.'))
                    {
                        Some(Value::String(self.attribute(resource, attribute)?))
                    } else {
                        self.reference(name)?
                    };
                    let value = value.as_ref().and_then(text);
                    out.push_str(
                        &value
                            .ok_or_else(|| broken(format!("${{{name}}} in Fn::Sub is no text")))?,
                    );
                }
            }
        }
        Ok(Some(Value::String(out)))
    }

    fn condition(&self, name: &str) -> Result<bool, TemplateError> {
        let condition = self.template.conditions.get(name);
        self.truth(condition.ok_or_else(|| broken(format!("there is no condition {name}")))?)
    }

    fn truth(&self, value: &Value) -> Result<bool, TemplateError> {
        let wrong = || broken(format!("{value} is no condition"));
        let (name, argument) = value.as_object().and_then(single).ok_or_else(wrong)?;
        let arguments = argument.as_array().map(Vec::as_slice);
        match (name, arguments) {
            ("Condition", _) => self.condition(argument.as_str().ok_or_else(wrong)?),
            ("Fn::Not", Some([one])) => self.truth(one).map(|truth| !truth),
            ("Fn::And", Some(all)) => all
                .iter()
                .try_fold(true, |so_far, one| Ok(so_far & self.truth(one)?)),
            ("Fn::Or", Some(all)) => all
                .iter()
                .try_fold(false, |so_far, one| Ok(so_far | self.truth(one)?)),
            ("Fn::Equals", Some([left, right])) => {
                let side = |value| {
                    let value = self.resolve(value)?.unwrap_or(Value::Null);
                    // `1` and `"1"` are the same to CloudFormation.
                    Ok::<_, TemplateError>(text(&value).map_or(value, Value::String))
                };
                Ok(side(left)? == side(right)?)
            }
            _ => Err(wrong()),
        }
    }
}

/// The functions of nothing but their arguments, which are resolved already.
fn pure(name: &str, arguments: &Value, mappings: &Value) -> Result<Value, TemplateError> {
    let wrong = || broken(format!("{name} {arguments} does not read"));
    let list = arguments.as_array().map(Vec::as_slice).ok_or_else(wrong)?;
    match (name, list) {
        ("Fn::Join", [Value::String(between), Value::Array(items)]) => {
            let items: Option<Vec<String>> = items.iter().map(text).collect();
            Ok(Value::String(items.ok_or_else(wrong)?.join(between)))
        }
        ("Fn::Split", [Value::String(at), Value::String(whole)]) => Ok(Value::Array(
            whole
                .split(at.as_str())
                .map(|part| Value::String(part.to_owned()))
                .collect(),
        )),
        ("Fn::Select", [index, Value::Array(items)]) => {
            let index: Option<usize> = text(index).and_then(|index| index.trim().parse().ok());
            index
                .and_then(|index| items.get(index))
                .cloned()
                .ok_or_else(wrong)
        }
        ("Fn::FindInMap", [Value::String(map), first, second]) => {
            let found = text(first)
                .zip(text(second))
                .and_then(|(first, second)| mappings.get(map)?.get(first)?.get(second));
            found.cloned().ok_or_else(wrong)
        }
        _ => Err(broken(format!(
            "{name} is not known here, or its arguments do not read: {arguments}"
        ))),
    }
}

fn broken(reason: String) -> TemplateError {
    TemplateError::Intrinsic(reason)
}

/// Name and argument, if the map is one intrinsic function.
fn single(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = map.iter();
    match (entries.next(), entries.next()) {
        (Some((name, argument)), None) => Some((name, argument)),
        _ => None,
    }
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
    /// `${!Name}`, which stands for `${Name}`.
    Literal(&'a str),
}

fn parts(pattern: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start + 2..].find('}') else {
            break;
        };
        let name = &rest[start + 2..start + 2 + length];
        parts.push(Part::Text(&rest[..start]));
        parts.push(match name.strip_prefix('!') {
            Some(literal) => Part::Literal(literal),
            None => Part::Name(name.trim()),
        });
        rest = &rest[start + 2 + length + 1..];
    }
    parts.push(Part::Text(rest));
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEMPLATE: &str = "
Parameters:
  Mode: {Type: String, Default: automatic}
  Urls: {Type: CommaDelimitedList, Default: 'a, b'}
Mappings:
  Sizes: {automatic: {Wait: 30}}
Conditions:
  Automatic: !Equals [!Ref Mode, automatic]
  Never: !And [!Condition Automatic, !Not [!Condition Automatic]]
  Always: !Or [!Condition Never, {Condition: Automatic}]
Resources:
  Queue: {Type: 'AWS::SQS::Queue', Properties: {VisibilityTimeout: !FindInMap [Sizes, !Ref Mode, Wait],
    RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}}}
  Dead: {Type: 'AWS::SQS::Queue', Condition: Always}
  Gone: {Type: 'AWS::SQS::Queue', Condition: Never}
Outputs:
  Sub: {Value: !Sub 'https://${Queue}/${Queue.Arn}/${!Literal}/${AWS::Region}'}
  Mapped: {Value: !Sub ['${A}-${Mode}', {A: !Join ['+', !Ref Urls]}]}
  Picked: {Value: !Select [1, !Split ['/', 'x/y']]}
  Chosen: {Value: !If [Never, wrong, !If [Always, right, wrong]]}
  Nothing: {Value: !If [Always, !Ref 'AWS::NoValue', x]}
  Hidden: {Condition: Never, Value: !Ref Gone}
";

    fn stage() -> Stage {
        Stage {
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
            stack_name: "dev".into(),
        }
    }

    #[test]
    fn every_function_gives_what_cloudformation_gives() {
        let template = Template::parse(TEMPLATE).unwrap();
        let parameters = template.parameters(&BTreeMap::new()).unwrap();
        let mut resolver = Resolver::new(&template, &parameters, stage());
        resolver.define("Queue", Physical::new("http://q", "arn:q"));
        let outputs = resolver.outputs().unwrap();
        assert_eq!(
            serde_json::to_value(outputs).unwrap(),
            json!({
                "Sub": "https://http://q/arn:q/${Literal}/us-east-1",
                "Mapped": "a+b-automatic",
                "Picked": "y",
                "Chosen": "right",
            })
        );
        assert!(resolver.is_wanted("Dead").unwrap());
        assert!(!resolver.is_wanted("Gone").unwrap());
    }

    #[test]
    fn a_resource_waits_for_what_it_names() {
        let template = Template::parse(TEMPLATE).unwrap();
        let parameters = template.parameters(&BTreeMap::new()).unwrap();
        let mut resolver = Resolver::new(&template, &parameters, stage());
        assert_eq!(resolver.references("Queue"), BTreeSet::from(["Dead"]));
        let error = resolver.declaration("Queue").unwrap_err().to_string();
        assert!(error.contains("Dead.Arn"), "{error}");
        resolver.define("Dead", Physical::new("http://d", "arn:d"));
        let Declaration::Queue(queue) = resolver.declaration("Queue").unwrap() else {
            panic!()
        };
        assert_eq!(queue.visibility_timeout, Some(30));
        assert_eq!(queue.redrive.unwrap().dead_letter_arn, "arn:d");
    }
}
