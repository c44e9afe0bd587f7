//! Resolves intrinsic functions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::document::{Resource, Template};
use super::error::TemplateError;
use super::intrinsics::{Part, parts, pure, single};
use super::parameters::Parameters;
use super::resources::{self, Declaration, Function, Rule};
use super::value::{deserialize, text};

/// Values of CloudFormation's pseudo parameters.
#[derive(Debug, Clone)]
pub(crate) struct PseudoParameters {
    /// `AWS::Region`.
    pub(crate) region: String,
    /// `AWS::AccountId`.
    pub(crate) account_id: String,
    /// `AWS::StackName`.
    pub(crate) stack_name: String,
}

/// The identifiers of a created resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Physical {
    /// Result of `Ref`.
    pub(crate) reference: String,
    /// Results of `GetAtt`, by attribute.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Physical {
    pub(crate) fn new(reference: impl Into<String>, arn: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            attributes: BTreeMap::from([("Arn".to_owned(), arn.into())]),
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub(crate) fn with(mut self, attribute: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(attribute.to_owned(), value.into());
        self
    }
}

/// Resolves a template while its resources are created one after the other.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    template: &'a Template,
    parameters: &'a Parameters,
    pseudo: PseudoParameters,
    physical: BTreeMap<String, Physical>,
}

/// `None` is `AWS::NoValue`: the containing map or list drops the entry.
type Resolved = Result<Option<Value>, TemplateError>;

impl<'a> Resolver<'a> {
    /// Creates a resolver without resources.
    pub(crate) fn new(
        template: &'a Template,
        parameters: &'a Parameters,
        pseudo: PseudoParameters,
    ) -> Self {
        Self { template, parameters, pseudo, physical: BTreeMap::new() }
    }

    /// Defines the results of `Ref` and `GetAtt` for a created resource.
    pub(crate) fn define(&mut self, logical: &str, physical: Physical) {
        self.physical.insert(logical.to_owned(), physical);
    }

    /// The identifiers of a created resource.
    pub(crate) fn physical(&self, logical: &str) -> Option<&Physical> {
        self.physical.get(logical)
    }

    /// Whether the resource exists and its condition is true.
    pub(crate) fn is_wanted(&self, logical: &str) -> Result<bool, TemplateError> {
        match self.template.resources.get(logical).map(|resource| resource.condition.as_deref()) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(condition)) => self.condition(condition),
        }
    }

    /// The other resources that this resource's properties name.
    pub(crate) fn references(&self, logical: &str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        if let Some(resource) = self.template.resources.get(logical) {
            self.collect(&resource.properties, &mut found);
        }
        found.remove(logical);
        found
    }

    /// An engine resource with resolved properties.
    pub(crate) fn declaration(&self, logical: &str) -> Result<Declaration, TemplateError> {
        let resource = self.resource(logical)?;
        let properties = self.resolve(&resource.properties)?.unwrap_or(Value::Object(Map::new()));
        resources::declaration(logical, &resource.kind, properties)
    }

    /// An EventBridge rule with resolved properties.
    pub(crate) fn rule(&self, logical: &str) -> Result<Rule, TemplateError> {
        let resource = self.resource(logical)?;
        let properties = self.resolve(&resource.properties)?;
        deserialize(properties.unwrap_or(Value::Null), logical)
    }

    /// A function with its environment, routes and queues. Policies are ignored.
    pub(crate) fn function(&self, logical: &str) -> Result<Function, TemplateError> {
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
        for (name, event) in
            resource.properties.get("Events").and_then(Value::as_object).into_iter().flatten()
        {
            let kind = event.get("Type").and_then(Value::as_str).unwrap_or_default();
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
    pub(crate) fn outputs(&self) -> Result<BTreeMap<String, String>, TemplateError> {
        let mut outputs = BTreeMap::new();
        for (name, output) in &self.template.outputs {
            if let Some(condition) = output.get("Condition").and_then(Value::as_str)
                && !self.condition(condition)?
            {
                continue;
            }
            let value = output.get("Value").map(|value| self.resolve(value)).transpose()?.flatten();
            if let Some(value) = value.as_ref().and_then(text) {
                outputs.insert(name.clone(), value);
            }
        }
        Ok(outputs)
    }

    fn resource(&self, logical: &str) -> Result<&'a Resource, TemplateError> {
        self.template
            .resources
            .get(logical)
            .ok_or_else(|| TemplateError::Intrinsic(format!("there is no resource {logical}")))
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
                        path.first().and_then(Value::as_str).into_iter().for_each(note);
                    }
                    Some(("Fn::GetAtt", Value::String(path))) => {
                        path.split('.').next().into_iter().for_each(note);
                    }
                    Some(("Fn::Sub", Value::String(pattern))) => {
                        for part in parts(pattern) {
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
                let items: Result<Vec<_>, _> =
                    items.iter().filter_map(|item| self.resolve(item).transpose()).collect();
                Ok(Some(Value::Array(items?)))
            }
            scalar => Ok(Some(scalar.clone())),
        }
    }

    fn intrinsic(&self, name: &str, argument: &Value) -> Resolved {
        let wrong =
            || TemplateError::Intrinsic(format!("{name} has invalid arguments: {argument}"));
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
                self.attribute(resource, attribute).map(|value| Some(Value::String(value)))
            }
            "Fn::Sub" => self.sub(argument.as_str().ok_or_else(wrong)?),
            "Fn::If" => match argument.as_array().map(Vec::as_slice) {
                Some([Value::String(condition), yes, no]) => {
                    self.resolve(if self.condition(condition)? { yes } else { no })
                }
                _ => Err(wrong()),
            },
            "Fn::Not" | "Fn::And" | "Fn::Or" | "Fn::Equals" => self
                .truth(&Value::Object(Map::from_iter([(name.to_owned(), argument.clone())])))
                .map(|truth| Some(Value::Bool(truth))),
            _ => {
                let arguments = self.resolve(argument)?.ok_or_else(wrong)?;
                pure(name, &arguments, &self.template.mappings).map(Some)
            }
        }
    }

    fn reference(&self, name: &str) -> Resolved {
        let pseudo = &self.pseudo;
        let value = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::Region" => Some(pseudo.region.clone()),
            "AWS::AccountId" => Some(pseudo.account_id.clone()),
            "AWS::Partition" => Some("aws".to_owned()),
            "AWS::URLSuffix" => Some("amazonaws.com".to_owned()),
            "AWS::StackName" => Some(pseudo.stack_name.clone()),
            "AWS::StackId" => Some(format!(
                "arn:aws:cloudformation:{}:{}:stack/{}/local",
                pseudo.region, pseudo.account_id, pseudo.stack_name
            )),
            _ => None,
        };
        if let Some(value) = value {
            return Ok(Some(Value::String(value)));
        }
        if let Some(value) = self.parameters.reference(name) {
            return Ok(Some(value));
        }
        match self.physical.get(name) {
            Some(physical) => Ok(Some(Value::String(physical.reference.clone()))),
            None => Err(TemplateError::Intrinsic(format!(
                "Ref {name} names neither a parameter nor a created resource"
            ))),
        }
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<String, TemplateError> {
        let value =
            self.physical.get(resource).and_then(|physical| physical.attributes.get(attribute));
        value.cloned().ok_or_else(|| {
            TemplateError::Intrinsic(format!("GetAtt {resource}.{attribute} has no value"))
        })
    }

    fn sub(&self, pattern: &str) -> Resolved {
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
                    let value = if let (false, Some((resource, attribute))) =
                        (name.contains("::"), name.split_once('.'))
                    {
                        Some(Value::String(self.attribute(resource, attribute)?))
                    } else {
                        self.reference(name)?
                    };
                    let value = value.as_ref().and_then(text);
                    out.push_str(&value.ok_or_else(|| {
                        TemplateError::Intrinsic(format!("${{{name}}} in Fn::Sub is not a scalar"))
                    })?);
                }
            }
        }
        Ok(Some(Value::String(out)))
    }

    fn condition(&self, name: &str) -> Result<bool, TemplateError> {
        let condition = self.template.conditions.get(name);
        self.truth(
            condition
                .ok_or_else(|| TemplateError::Intrinsic(format!("there is no condition {name}")))?,
        )
    }

    fn truth(&self, value: &Value) -> Result<bool, TemplateError> {
        let wrong = || TemplateError::Intrinsic(format!("{value} is not a condition"));
        let (name, argument) = value.as_object().and_then(single).ok_or_else(wrong)?;
        let arguments = argument.as_array().map(Vec::as_slice);
        match (name, arguments) {
            ("Condition", _) => self.condition(argument.as_str().ok_or_else(wrong)?),
            ("Fn::Not", Some([one])) => self.truth(one).map(|truth| !truth),
            ("Fn::And", Some(all)) => {
                all.iter().try_fold(true, |so_far, one| Ok(so_far & self.truth(one)?))
            }
            ("Fn::Or", Some(all)) => {
                all.iter().try_fold(false, |so_far, one| Ok(so_far | self.truth(one)?))
            }
            ("Fn::Equals", Some([left, right])) => {
                let side = |value| {
                    let value = self.resolve(value)?.unwrap_or(Value::Null);
                    // CloudFormation compares `1` and `"1"` as equal.
                    Ok::<_, TemplateError>(text(&value).map_or(value, Value::String))
                };
                Ok(side(left)? == side(right)?)
            }
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEMPLATE: &str = "
Parameters:
  Mode: {Type: String, Default: automatic}
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
  Chosen: {Value: !If [Never, wrong, !If [Always, right, wrong]]}
  Nothing: {Value: !If [Always, !Ref 'AWS::NoValue', x]}
  Hidden: {Condition: Never, Value: !Ref Gone}
";

    fn pseudo() -> PseudoParameters {
        PseudoParameters {
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
            stack_name: "dev".into(),
        }
    }

    #[test]
    fn intrinsic_functions_resolve_as_in_cloudformation() {
        let template = Template::parse(TEMPLATE).unwrap();
        let parameters = template.parameters(&BTreeMap::new()).unwrap();
        let mut resolver = Resolver::new(&template, &parameters, pseudo());
        resolver.define("Queue", Physical::new("http://q", "arn:q"));
        let outputs = resolver.outputs().unwrap();
        assert_eq!(
            serde_json::to_value(outputs).unwrap(),
            json!({
                "Sub": "https://http://q/arn:q/${Literal}/us-east-1",
                "Chosen": "right",
            })
        );
        assert!(resolver.is_wanted("Dead").unwrap());
        assert!(!resolver.is_wanted("Gone").unwrap());
    }

    #[test]
    fn resource_needs_the_resources_it_names() {
        let template = Template::parse(TEMPLATE).unwrap();
        let parameters = template.parameters(&BTreeMap::new()).unwrap();
        let mut resolver = Resolver::new(&template, &parameters, pseudo());
        assert_eq!(resolver.references("Queue"), BTreeSet::from(["Dead"]));
        let error = resolver.declaration("Queue").unwrap_err().to_string();
        assert!(error.contains("Dead.Arn"), "{error}");
        resolver.define("Dead", Physical::new("http://d", "arn:d"));
        let Declaration::Queue(queue) = resolver.declaration("Queue").unwrap() else { panic!() };
        assert_eq!(queue.visibility_timeout, Some(30));
        assert_eq!(queue.redrive_policy.unwrap().dead_letter_target_arn, "arn:d");
    }

    const FUNCTION: &str = "
Parameters:
  Wait: {Type: Number, Default: 60}
Globals:
  Function:
    Timeout: 10
    Environment: {Variables: {SHARED: yes-please, ROW: shared}}
Resources:
  Work:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: work}}
    Properties:
      Timeout: !Ref Wait
      Policies: [{Statement: [{Resource: !GetAtt Unknown.Arn}]}]
      Environment: {Variables: {ROW: own, QUEUE: !Ref Queue, COUNT: 3}}
      Events:
        Any: {Type: HttpApi, Properties: {ApiId: !Ref Api, Path: '/v1/{proxy+}', Method: any}}
        Jobs: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, BatchSize: 1,
          FunctionResponseTypes: [ReportBatchItemFailures], ScalingConfig: {MaximumConcurrency: 4}}}
        Nightly: {Type: ScheduleV2, Properties: {RoleArn: !GetAtt Role.Arn}}
  Queue: {Type: 'AWS::SQS::Queue'}
  Api: {Type: 'AWS::Serverless::HttpApi'}
";

    #[test]
    fn function_overrides_globals() {
        let template = Template::parse(FUNCTION).unwrap();
        let parameters = template.parameters(&BTreeMap::new()).unwrap();
        let mut resolver = Resolver::new(&template, &parameters, pseudo());
        resolver.define("Queue", Physical::new("http://q", "arn:q"));
        resolver.define("Api", Physical::default());
        let function = resolver.function("Work").unwrap();
        assert_eq!((function.binary.as_str(), function.timeout), ("work", 60));
        let expected =
            [("COUNT", "3"), ("QUEUE", "http://q"), ("ROW", "own"), ("SHARED", "yes-please")];
        assert_eq!(
            function.variables,
            BTreeMap::from(expected.map(|(name, value)| (name.to_owned(), value.to_owned())))
        );
        assert_eq!(
            function.routes,
            [resources::Route { method: "ANY".into(), path: "/v1/{proxy+}".into() }]
        );
        assert_eq!(
            function.sources,
            [resources::QueueSource {
                queue_arn: "arn:q".into(),
                batch_size: 1,
                maximum_concurrency: Some(4),
                reports_failures: true
            }]
        );
    }
}
