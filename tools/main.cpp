// The mattec command: exit code 0 on success, 1 on a failed operation, 2 on wrong usage.
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "tools/verbs.h"

namespace {

int report(std::string text, int exit_code) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  fmt::print(stderr, "mattec: {}\n", mattec::printable(text));
  return exit_code;
}

// Help and version are no errors; anything else about the arguments is wrong usage.
int report_usage(const CLI::App& mattec, const CLI::ParseError& problem) {
  if (problem.get_exit_code() == 0) return mattec.exit(problem);
  const std::vector<CLI::App*> verbs = mattec.get_subcommands();
  const std::string verb = verbs.empty() ? "" : " " + verbs.front()->get_name();
  return report(fmt::format("{} (see mattec{} --help)", problem.what(), verb), 2);
}

// Ends as the signal would have ended it, so that a shell script stops too.
int end_by(int signal) {
  report("interrupted; nothing half-written is left", 1);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
  return 1;
}

int run_command(int argc, char** argv) {
  CLI::App mattec("Compiles video matting networks to static libraries, and runs them.", "mattec");
  mattec.set_version_flag("--version", MATTEC_VERSION);
  mattec.require_subcommand(1);
  mattec::tools::add_demo(mattec);
  mattec::tools::add_quantize(mattec);
  mattec::tools::add_compile(mattec);
  mattec::tools::add_run(mattec);
  mattec::tools::add_eval(mattec);
  mattec::tools::add_bench(mattec);
  mattec::tools::add_inspect(mattec);
  try {
    mattec.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return report_usage(mattec, problem);
  } catch (const mattec::Interrupted& interrupted) {
    return end_by(interrupted.signal);
  } catch (const mattec::UsageError& error) {
    return report(error.what(), 2);
  } catch (const std::bad_alloc&) {
    return report("not enough memory for this; use smaller frames or fewer of them", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
  if (std::fflush(stdout) != 0)
    return report("standard output: cannot be written; is the disk full?", 1);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  mattec::install_signal_handlers();
  try {
    return run_command(argc, argv);
  } catch (...) {
    // Only standard error itself can have failed: everything else is reported above.
    return 1;
  }
}
