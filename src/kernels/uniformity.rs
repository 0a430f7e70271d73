//! Barriers must be reached by all invocations of a workgroup or by none. naga does not check this; drivers hang.
//!
//! A value is uniform when it is built from constants, immediates, `workgroup_id` and `num_workgroups`, or read at such a place
//! from a read-only buffer. A local variable is uniform when every store to it, and the control flow around the
//! store, is. The analysis repeats until no local changes, then reports.

use naga::{
    AddressSpace, Binding, Block, BuiltIn, Expression, Function, Handle, Module, Span, Statement, StorageAccess,
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Problems of `entry` and the functions it calls, one line each, with line numbers in `text`.
pub fn check(module: &Module, entry: &Function, text: &str) -> Vec<String> {
    let mut problems = BTreeSet::new();
    let mut known = HashMap::new();
    Analysis::new(module, text, entry, None, &mut known).run(true, &mut problems);
    problems.into_iter().map(|(line, what)| format!("line {line}: {what}")).collect()
}

type Problems = BTreeSet<(u32, &'static str)>;
/// Uniformity of the result of a function, by its arguments' and the control flow's, and the problems found in it.
type Known = HashMap<(Handle<Function>, Vec<bool>, bool), (bool, Problems)>;

struct Analysis<'a> {
    module: &'a Module,
    text: &'a str,
    function: &'a Function,
    /// Uniformity of the arguments of a called function; an entry point's follow from their built-ins.
    arguments: Option<&'a [bool]>,
    known: &'a mut Known,
    /// Locals that may differ between invocations.
    varying: HashSet<usize>,
    results: HashMap<Handle<Expression>, bool>,
    returned: bool,
    /// Some invocations may have left the function.
    split: bool,
    uniform_result: bool,
    problems: Problems,
}

/// What the statements of a loop or switch body have done to its control flow.
#[derive(Default)]
struct Exits {
    breaks: bool,
    continues: bool,
}

impl<'a> Analysis<'a> {
    fn new(
        module: &'a Module,
        text: &'a str,
        function: &'a Function,
        arguments: Option<&'a [bool]>,
        known: &'a mut Known,
    ) -> Self {
        Self {
            module,
            text,
            function,
            arguments,
            known,
            varying: HashSet::new(),
            results: HashMap::new(),
            returned: false,
            split: false,
            uniform_result: true,
            problems: Problems::new(),
        }
    }

    /// Analyses the function under uniform or varying control flow; returns whether its result is uniform.
    fn run(mut self, uniform: bool, problems: &mut Problems) -> bool {
        loop {
            let before = self.varying.len();
            (self.returned, self.split, self.uniform_result) = (false, false, true);
            self.problems.clear();
            for (handle, local) in self.function.local_variables.iter() {
                if local.init.is_some_and(|init| !self.uniform(init)) {
                    self.varying.insert(handle.index());
                }
            }
            self.block(&self.function.body, uniform, &mut Exits::default());
            if self.varying.len() == before {
                problems.append(&mut self.problems);
                return self.uniform_result;
            }
        }
    }

    fn block(&mut self, block: &Block, uniform: bool, exits: &mut Exits) {
        for (statement, span) in block.span_iter() {
            let here = uniform && !self.split && !exits.breaks && !exits.continues;
            self.statement(statement, span, here, exits);
        }
    }

    fn statement(&mut self, statement: &Statement, span: &Span, uniform: bool, exits: &mut Exits) {
        match statement {
            Statement::Block(inner) => self.block(inner, uniform, exits),
            Statement::If { condition, accept, reject } => {
                let inside = uniform && self.uniform(*condition);
                // What one branch does must not count in the other.
                let mut other = Exits { breaks: exits.breaks, continues: exits.continues };
                let before = (self.split, self.returned);
                self.block(accept, inside, exits);
                let after = (self.split, self.returned);
                (self.split, self.returned) = before;
                self.block(reject, inside, &mut other);
                self.split |= after.0;
                self.returned |= after.1;
                exits.breaks |= other.breaks;
                exits.continues |= other.continues;
            }
            Statement::Switch { selector, cases } => {
                let inside = uniform && self.uniform(*selector);
                for case in cases {
                    let mut own = Exits::default();
                    self.block(&case.body, inside, &mut own);
                    exits.continues |= own.continues;
                }
            }
            Statement::Loop { body, continuing, break_if } => {
                let (split, returned, mut inside) = (self.split, self.returned, uniform);
                loop {
                    let mut own = Exits::default();
                    (self.split, self.returned) = (split, returned);
                    self.block(body, inside, &mut own);
                    self.block(continuing, inside && !own.breaks, &mut Exits::default());
                    let breaks = own.breaks || self.split || break_if.is_some_and(|c| !self.uniform(c));
                    if !breaks || !inside {
                        break;
                    }
                    // Invocations leave at different iterations: the whole body is divergent.
                    inside = false;
                }
            }
            Statement::Break => exits.breaks |= !uniform,
            Statement::Continue => exits.continues |= !uniform,
            Statement::Return { value } => {
                self.returned = true;
                self.split |= !uniform;
                self.uniform_result &= uniform && value.is_none_or(|v| self.uniform(v));
            }
            Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => self.barrier(span, uniform),
            Statement::WorkGroupUniformLoad { result, .. } => {
                self.barrier(span, uniform);
                self.results.insert(*result, true);
            }
            Statement::Store { pointer, value } if !(uniform && self.uniform(*value) && self.uniform(*pointer)) => {
                self.vary(*pointer)
            }
            Statement::Call { function, arguments, result } => {
                let flags: Vec<bool> = arguments.iter().map(|a| self.uniform(*a)).collect();
                arguments.iter().for_each(|a| self.vary(*a));
                let (value, inner) = self.call(*function, flags, uniform);
                if self.returned && self.has_barrier(*function) {
                    self.problem(span, AFTER_RETURN);
                }
                self.problems.extend(inner);
                if let Some(result) = result {
                    self.results.insert(*result, value);
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, function: Handle<Function>, flags: Vec<bool>, uniform: bool) -> (bool, Problems) {
        let key = (function, flags, uniform);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let mut problems = Problems::new();
        let callee = &self.module.functions[function];
        let result =
            Analysis::new(self.module, self.text, callee, Some(&key.1), self.known).run(uniform, &mut problems);
        self.known.insert(key, (result, problems.clone()));
        (result, problems)
    }

    fn has_barrier(&self, function: Handle<Function>) -> bool {
        // Under varying control flow every barrier is a problem.
        let arguments = vec![false; self.module.functions[function].arguments.len()];
        let mut problems = Problems::new();
        let callee = &self.module.functions[function];
        let mut known = Known::new();
        Analysis::new(self.module, self.text, callee, Some(&arguments), &mut known).run(false, &mut problems);
        !problems.is_empty()
    }

    fn barrier(&mut self, span: &Span, uniform: bool) {
        if self.returned {
            self.problem(span, AFTER_RETURN);
        }
        if !uniform {
            self.problem(span, "a barrier under a condition that may differ within a workgroup");
        }
    }

    fn problem(&mut self, span: &Span, what: &'static str) {
        self.problems.insert((span.location(self.text).line_number, what));
    }

    /// Marks the local variable behind a pointer, if any, as varying.
    fn vary(&mut self, pointer: Handle<Expression>) {
        match self.function.expressions[pointer] {
            Expression::LocalVariable(local) => {
                self.varying.insert(local.index());
            }
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.vary(base),
            _ => {}
        }
    }

    /// Same value in all invocations of a workgroup; of a pointer: same place.
    fn uniform(&self, expression: Handle<Expression>) -> bool {
        let all = |parts: &[Option<Handle<Expression>>]| parts.iter().flatten().all(|p| self.uniform(*p));
        match &self.function.expressions[expression] {
            Expression::Literal(_) | Expression::Constant(_) | Expression::Override(_) | Expression::ZeroValue(_) => {
                true
            }
            Expression::GlobalVariable(_) | Expression::LocalVariable(_) | Expression::ArrayLength(_) => true,
            Expression::Compose { components, .. } => components.iter().all(|c| self.uniform(*c)),
            Expression::Access { base, index } => self.uniform(*base) && self.uniform(*index),
            Expression::AccessIndex { base, .. } => self.uniform(*base),
            Expression::Splat { value, .. } => self.uniform(*value),
            Expression::Swizzle { vector, .. } => self.uniform(*vector),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => self.uniform(*expr),
            Expression::Binary { left, right, .. } => self.uniform(*left) && self.uniform(*right),
            Expression::Select { condition, accept, reject } => all(&[Some(*condition), Some(*accept), Some(*reject)]),
            Expression::Relational { argument, .. } => self.uniform(*argument),
            Expression::Math { arg, arg1, arg2, arg3, .. } => all(&[Some(*arg), *arg1, *arg2, *arg3]),
            Expression::FunctionArgument(at) => self.argument(*at as usize),
            Expression::Load { pointer } => self.uniform(*pointer) && self.uniform_memory(*pointer),
            Expression::CallResult(_) | Expression::WorkGroupUniformLoadResult { .. } => {
                self.results.get(&expression).copied().unwrap_or(true)
            }
            _ => false,
        }
    }

    /// Every invocation reads the same from a place behind this pointer.
    fn uniform_memory(&self, pointer: Handle<Expression>) -> bool {
        match self.function.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.uniform_memory(base),
            Expression::LocalVariable(local) => !self.varying.contains(&local.index()),
            Expression::GlobalVariable(global) => match self.module.global_variables[global].space {
                AddressSpace::Immediate | AddressSpace::Uniform => true,
                AddressSpace::Storage { access } => !access.contains(StorageAccess::STORE),
                _ => false,
            },
            _ => false,
        }
    }

    fn argument(&self, at: usize) -> bool {
        match self.arguments {
            Some(flags) => flags.get(at).copied().unwrap_or(false),
            None => matches!(
                self.function.arguments[at].binding,
                Some(Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups | BuiltIn::WorkGroupSize))
            ),
        }
    }
}

const AFTER_RETURN: &str = "a barrier after a return";
