//! `queuebridge infra`: the templates of a deployment.

use super::Exit;
use crate::config::{Config, parse_duration};
use crate::infra::{FunctionTimeout, MAX_TEMPLATE_BYTES, Settings, templates};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// What `infra` is told.
#[derive(Clone, Debug, Args)]
pub struct InfraArgs {
    /// The gateway's configuration; variables have no say, and keys must not be in it
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The folder for the templates
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// What the names of everything begin with that the configuration does not name
    #[arg(long, default_value = "queuebridge")]
    pub name: String,
    /// The longest invocation of worker functions: TIME for all, QUEUE=TIME for those of one
    /// queue; repeatable [default: 60s]
    #[arg(long, value_name = "[QUEUE=]TIME")]
    pub function_timeout: Vec<FunctionTimeout>,
    /// Messages per invocation at most; above 10 it needs a window
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_size: u32,
    /// How long Lambda may gather a batch; at 0s a lone message is not held up
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = window)]
    pub batch_window: Duration,
}

fn window(text: &str) -> Result<Duration, String> {
    let window = parse_duration(text)?;
    let right = window.subsec_nanos() == 0 && window.as_secs() <= 300;
    right.then_some(window).ok_or_else(|| "expected 0s to 300s in whole seconds".to_owned())
}

/// Writes the templates, and says which. All mistakes of the configuration are reported
/// at once, and then nothing is written.
#[must_use]
pub fn run(args: &InfraArgs) -> Exit {
    let made = Config::for_templates(&args.config)
        .and_then(|(text, config)| templates(&text, &config, &args.settings()));
    let templates = match made {
        Ok(templates) => templates,
        Err(errors) => {
            eprintln!("{errors}");
            return Exit::Usage;
        }
    };
    let written = std::fs::create_dir_all(&args.out).and_then(|()| {
        templates.iter().try_for_each(|template| {
            let path = args.out.join(template.name);
            std::fs::write(&path, &template.text)?;
            println!("{}", path.display());
            if template.text.len() > MAX_TEMPLATE_BYTES {
                eprintln!(
                    "{}: larger than 51,200 bytes, deploy it with --s3-bucket",
                    template.name
                );
            }
            Ok(())
        })
    });
    match written {
        Ok(()) => Exit::Success,
        Err(error) => {
            eprintln!("{}: {error}", args.out.display());
            Exit::CallFailed
        }
    }
}

impl InfraArgs {
    fn settings(&self) -> Settings {
        let mut made = "Made by `queuebridge infra".to_owned();
        if self.name != "queuebridge" {
            made.push_str(&format!(" --name {}", self.name));
        }
        for FunctionTimeout { queue, timeout } in &self.function_timeout {
            let queue = queue.as_ref().map(|queue| format!("{queue}=")).unwrap_or_default();
            made.push_str(&format!(" --function-timeout {queue}{}s", timeout.as_secs()));
        }
        if self.batch_size != 10 {
            made.push_str(&format!(" --batch-size {}", self.batch_size));
        }
        if !self.batch_window.is_zero() {
            made.push_str(&format!(" --batch-window {}s", self.batch_window.as_secs()));
        }
        made.push_str("`: change the configuration and not this file.");
        Settings {
            name: self.name.clone(),
            function_timeouts: self.function_timeout.clone(),
            batch_size: self.batch_size,
            batch_window: self.batch_window,
            made,
        }
    }
}
