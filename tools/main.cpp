// The mattec command: exit code 0 on success, 1 on a failed operation, 2 on wrong usage.
#include <fmt/core.h>
#include <pthread.h>
#include <sys/resource.h>

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

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::vector<std::string> verbs_of(const CLI::App& mattec) {
  std::vector<std::string> names;
  for (const CLI::App* verb : mattec.get_subcommands({})) names.push_back(verb->get_name());
  return names;
}

// About the first word that is neither verb, option nor argument; empty where there is none.
std::string unknown_word(const CLI::App& app) {
  for (const std::string& word : app.remaining()) {
    const std::string name = word.substr(0, word.find('='));
    if (name.size() > 1 && name[0] == '-')
      return "unknown option \"" + name + "\"" + mattec::hint_at_nearest(name, options_of(app));
    const std::vector<std::string> verbs = verbs_of(app);
    if (!verbs.empty())
      return "unknown verb \"" + word + "\"" + mattec::hint_at_nearest(word, verbs);
  }
  return "";
}

// Help and version are no errors; anything else about the arguments is wrong usage. What is missing
// may be missing because its name is misspelt.
int report_usage(const CLI::App& mattec, const CLI::ParseError& problem) {
  if (problem.get_exit_code() == 0) return mattec.exit(problem);
  const std::vector<CLI::App*> verbs = mattec.get_subcommands();
  const std::string verb = verbs.empty() ? "" : " " + verbs.front()->get_name();
  const int code = problem.get_exit_code();
  std::string what = problem.what();
  if (code == static_cast<int>(CLI::ExitCodes::RequiredError) ||
      code == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    std::string unknown = unknown_word(mattec);
    if (unknown.empty() && !verbs.empty()) unknown = unknown_word(*verbs.front());
    if (!unknown.empty()) what = unknown;
  }
  return report(fmt::format("{} (see mattec{} --help)", what, verb), 2);
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

struct Command {
  int argc;
  char** argv;
  int exit_code;
};

void* run(void* argument) {
  auto* const command = static_cast<Command*>(argument);
  try {
    command->exit_code = run_command(command->argc, command->argv);
  } catch (...) {
    // Only standard error itself can have failed: everything else is reported above.
    command->exit_code = 1;
  }
  return nullptr;
}

// Whoever calls mattec_step needs <NAME>_STACK_BYTES of stack, 0.4 MB for 1080p on AVX2. Where the
// first thread has less than the usual 8 MB (`ulimit -s 256`), another one does the work. Only
// there: memory of other threads takes LibTorch longer to get and give back.
bool run_on_a_larger_stack(Command& command) {
  constexpr size_t usual = size_t{8} << 20;
  rlimit limit = {};
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= usual) return false;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_t thread;
  const bool is_started = pthread_attr_setstacksize(&attributes, usual) == 0 &&
                          pthread_create(&thread, &attributes, run, &command) == 0;
  pthread_attr_destroy(&attributes);
  if (is_started) pthread_join(thread, nullptr);
  return is_started;
}

}  // namespace

int main(int argc, char** argv) {
  mattec::install_signal_handlers();
  Command command = {argc, argv, 1};
  if (!run_on_a_larger_stack(command)) run(&command);
  return command.exit_code;
}
