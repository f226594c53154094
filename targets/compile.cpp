#include "targets/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <exception>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/checksum.h"
#include "base/error.h"
#include "runtime/model.h"
#include "schedules/schedule.h"
#include "targets/checksums.h"
#include "targets/halide_settings.h"
#include "targets/inspect.h"
#include "targets/library_name.h"
#include "targets/objects.h"

namespace mattec::targets {
namespace {

constexpr int smallest_extent = 16;  // four levels of halving
constexpr int largest_extent = 8192;

// The kernels of a plan, equal ones once, and which symbol each step calls.
struct KernelSet {
  std::vector<const lower::Kernel*> kernels;
  std::vector<schedules::Schedule> schedules;  // this and the next: parallel to `kernels`
  std::vector<std::string> symbols;
  std::vector<std::string> of_step;
  std::set<std::string> microkernels;
};

KernelSet collect(const lower::Plan& plan, const std::string& prefix, const Target& target) {
  KernelSet set;
  std::map<std::string, size_t> known;
  for (const lower::Step& step : plan.steps) {
    const std::string name = lower::name_of(step.kernel);
    const auto [found, is_new] = known.try_emplace(name, set.kernels.size());
    if (is_new) {
      set.kernels.push_back(&step.kernel);
      set.schedules.push_back(schedules::choose(step.kernel, target.isa));
      set.symbols.push_back(std::string(prefix).append("_").append(name));
    }
    set.of_step.push_back(set.symbols[found->second]);
    if (!step.kernel.microkernel.empty()) set.microkernels.insert(step.kernel.microkernel);
  }
  return set;
}

// Compiles all kernels on `threads` threads; the first failure is thrown after all have stopped.
std::vector<CompiledKernel> compile_kernels(const KernelSet& set, const Target& target,
                                            const CompileOptions& options) {
  std::vector<CompiledKernel> compiled(set.kernels.size());
  std::atomic<size_t> next{0}, done{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (size_t i = next++; i < set.kernels.size(); i = next++) {
      try {
        compiled[i] =
            compile_kernel(*set.kernels[i], set.schedules[i], set.symbols[i], options.name, target);
        const std::lock_guard<std::mutex> lock(mutex);
        if (options.progress)  // may throw: the user may have had enough
          options.progress(double(++done) / double(set.kernels.size()),
                           "kernels for " + target.name);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!failure) failure = std::current_exception();
        next = set.kernels.size();
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < std::max(1, options.threads); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  return compiled;
}

// The scratch operand of the steps whose kernels take one: the last one before the outputs.
void add_scratch(const KernelSet& set, const std::vector<CompiledKernel>& compiled,
                 lower::Plan& plan) {
  std::map<std::string, int64_t> bytes;
  for (size_t i = 0; i < compiled.size(); ++i) bytes[set.symbols[i]] = compiled[i].scratch_bytes;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const int64_t wanted = bytes.at(set.of_step[i]);
    if (wanted == 0) continue;
    lower::Operand scratch;
    scratch.buffer = lower::Buffer::scratch;
    const auto outputs = static_cast<ptrdiff_t>(1 + plan.steps[i].kernel.copies.size());
    plan.steps[i].operands.insert(plan.steps[i].operands.end() - outputs, scratch);
    plan.scratch_bytes = std::max(plan.scratch_bytes, wanted);
  }
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  return text;
}

constexpr int64_t arena_alignment = 64;

// The names of runtime/mattec.h, without their prefix, of the formats in `bits` (1 << format).
std::vector<std::string> format_names(int bits) {
  static const std::pair<mattec_format, const char*> names[] = {{MATTEC_RGB, "RGB"},
                                                                {MATTEC_BGR, "BGR"},
                                                                {MATTEC_RGBA, "RGBA"},
                                                                {MATTEC_BGRA, "BGRA"},
                                                                {MATTEC_GRAY, "GRAY"}};
  std::vector<std::string> found;
  for (const auto& [format, name] : names)
    if ((bits >> format & 1) != 0) found.emplace_back(name);
  return found;
}

int foreground_formats(const lower::Plan& plan) {
  return plan.foreground.storage < 0 ? 0 : MATTEC_COLOR_FORMATS;
}

std::string format_bits(int bits) {
  std::string text;
  for (const std::string& name : format_names(bits))
    text += (text.empty() ? "1 << MATTEC_" : " | 1 << MATTEC_") + name;
  return text.empty() ? "0" : "(" + text + ")";
}

std::string header_text(const lower::Plan& plan, const std::string& name, const Target& target,
                        uint64_t stack_bytes) {
  return fmt::format(
      "/* {1} for {2}, written by mattec. Link lib{0}.a{14}. */\n"
      "#ifndef MATTEC_MODEL_{3}_H\n"
      "#define MATTEC_MODEL_{3}_H\n\n"
      "#include \"mattec.h\"\n\n"
      "#define {3}_WIDTH {4}\n"
      "#define {3}_HEIGHT {5}\n"
      "/* Memory for one session that uses so many threads (mattec_options). */\n"
      "#define {3}_ARENA_BYTES(threads) ({6}u + ((threads) > 1 ? (threads) : 1) * (size_t){13})\n"
      "#define {3}_ARENA_ALIGNMENT {7}\n"
      "/* At most so much stack does each thread need inside mattec_step; what the C library's\n"
      " * memcpy, memset and pthread functions need comes on top. The pool's threads have it. */\n"
      "#define {3}_STACK_BYTES {8}\n"
      "#define {3}_ABI_VERSION {9}\n"
      "/* The formats that mattec_step takes and gives: bits 1 << mattec_format. */\n"
      "#define {3}_FRAME_FORMATS {10}\n"
      "#define {3}_ALPHA_FORMATS {11}\n"
      "#define {3}_FOREGROUND_FORMATS {12}\n\n"
      "#ifdef __cplusplus\nextern \"C\"\n#else\nextern\n#endif\n"
      "const mattec_model {0}_model;\n\n"
      "#endif\n",
      name, plan.name, target.name, upper(name), plan.size.width, plan.size.height,
      plan_arena_bytes(plan) - plan.scratch_bytes, arena_alignment, stack_bytes, MATTEC_ABI_VERSION,
      format_bits(MATTEC_COLOR_FORMATS), format_bits(MATTEC_ALPHA_FORMATS),
      format_bits(foreground_formats(plan)), plan.scratch_bytes,
      target.is_hosted ? " (and pthread)" : "");
}

nlohmann::ordered_json to_json(const schedules::Reduction& reduction) {
  const generators::Part& part = reduction.part;
  return {{"first", part.first},
          {"steps", part.steps},
          {"blocks", part.blocks},
          {"columns", part.columns},
          {"rows", part.rows},
          {"along_row", part.along_row},
          {"unrolled_groups", reduction.unrolled_groups},
          {"unrolled_columns", reduction.unrolled_columns},
          {"by_element", reduction.by_element},
          {"unrolled_turns", reduction.unrolled_turns}};
}

nlohmann::ordered_json to_json(const schedules::Schedule& schedule) {
  const bool columns_inside = schedule.inner == schedules::Inner::columns;
  nlohmann::ordered_json json = {{"lanes", schedule.lanes},
                                 {"vectors", schedule.vectors},
                                 {"pixels", schedule.pixels},
                                 {"output_lanes", schedule.output_lanes},
                                 {"inner", columns_inside ? "columns" : "channels"}};
  if (schedule.shared_inputs) json["shared_inputs"] = true;
  if (schedule.reductions.empty()) return json;
  json["widened_rows"] = schedule.widened_rows;
  for (const std::vector<schedules::Reduction>& segment : schedule.reductions) {
    nlohmann::ordered_json parts = nlohmann::ordered_json::array();
    for (const schedules::Reduction& part : segment) parts.push_back(to_json(part));
    json["reductions"].push_back(parts);
  }
  return json;
}

std::string manifest_text(const lower::Plan& plan, const KernelSet& set,
                          const CompileOptions& options, const Target& target, uint64_t stack_bytes,
                          const std::string& archive_checksum) {
  nlohmann::ordered_json manifest = {
      {"name", options.name},
      {"network", plan.name},
      {"target", target.name},
      {"size", fmt::format("{}x{}", plan.size.width, plan.size.height)},
      {"abi_version", MATTEC_ABI_VERSION},
      {"arena_bytes", plan_arena_bytes(plan)},
      {"scratch_bytes", plan.scratch_bytes},
      {"arena_alignment", arena_alignment},
      {"stack_bytes", stack_bytes},
      {"frame_formats", format_names(MATTEC_COLOR_FORMATS)},
      {"alpha_formats", format_names(MATTEC_ALPHA_FORMATS)},
      {"foreground_formats", format_names(foreground_formats(plan))},
      {"weight_bytes", plan.weight_bytes},
      {"constant_bytes", plan.constants.size()},
      {"gmac", plan.macs / 1e9}};
  for (size_t i = 0; i < set.kernels.size(); ++i)
    manifest["kernels"].push_back(
        {{"symbol", set.symbols[i]}, {"schedule", to_json(set.schedules[i])}});
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const lower::Step& step = plan.steps[i];
    manifest["steps"].push_back({{"name", step.name},
                                 {"kernel", set.of_step[i]},
                                 {"rows", step.rows},
                                 {"rows_per_task", step.rows_per_task},
                                 {"mmac", step.kernel.macs_per_row() * step.rows / 1e6}});
  }
  manifest["archive_checksum"] = archive_checksum;
  manifest["checksum"] = std::string(checksum_digits, '0');
  std::string text = manifest.dump(1) + "\n";
  seal(text.data(), text.size(), manifest_marker);
  return text;
}

// Of the objects that hold code: the bound goes into the model's.
uint64_t stack_bytes_of(const std::vector<Object>& code, const std::string& name) {
  return inspect_archive("lib" + name + ".a", make_archive(code)).stack_bytes;
}

}  // namespace

void require_valid(const CompileOptions& options) {
  require_library_name(options.name);
  for (const int extent : {options.size.width, options.size.height})
    if (extent < smallest_extent || extent > largest_extent)
      throw UsageError(
          fmt::format("size {}x{} cannot be compiled; width and height must be {} to {}",
                      options.size.width, options.size.height, smallest_extent, largest_extent));
  find_target(options.target);
}

CompiledLibrary compile(const ir::Graph& graph, const CompileOptions& options) {
  require_valid(options);
  const Target& target = find_target(options.target);
  lower::Options lowering;
  lowering.isa = target.isa;
  lowering.keep_all = options.keep_all;
  lowering.work_per_task = options.work_per_task;
  lower::Plan plan = lower::lower(ir::extract(graph, ir::Variant::direct), options.size, lowering);
  const KernelSet set = collect(plan, options.name, target);

  fix_halide_settings();
  std::vector<CompiledKernel> compiled = compile_kernels(set, target, options);
  add_scratch(set, compiled, plan);
  std::vector<Object> objects;
  for (size_t i = 0; i < compiled.size(); ++i)
    objects.push_back({set.symbols[i] + ".o", std::move(compiled[i].object)});
  objects.push_back({options.name + "_runtime.o", rename_runtime(options.name, target)});
  for (const std::string& name : set.microkernels)
    objects.push_back({options.name + "_" + name + microkernel_member_suffix,
                       rename_microkernel(options.name, name)});
  const uint64_t stack_bytes = stack_bytes_of(objects, options.name);
  objects.push_back({options.name + "_model.o",
                     emit_model(plan, options.name, set.of_step, stack_bytes, target)});
  objects.insert(objects.begin(), {options.name + "_checksum.o", emit_checksum(target)});
  CompiledLibrary made;
  made.target = target.name;
  made.archive = make_archive(objects);
  const std::string checksum =
      seal(reinterpret_cast<char*>(made.archive.data()), made.archive.size(), archive_marker);
  made.header = header_text(plan, options.name, target, stack_bytes);
  made.manifest = manifest_text(plan, set, options, target, stack_bytes, checksum);
  made.plan = std::move(plan);
  return made;
}

}  // namespace mattec::targets
