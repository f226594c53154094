// The files of a compiled library in the hands of a C and a C++ program, and every refusal.
#include <sys/resource.h>

#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "ir/interpreter.h"
#include "targets/checksums.h"
#include "targets/library_name.h"
#include "tests/compiled_archive.h"
#include "tests/target_names.h"

namespace mattec::test {
namespace {

namespace fs = std::filesystem;

// Runs one frame through each of two libraries and prints alpha in hexadecimal; a library that this
// processor does not run prints its status.
const char two_libraries[] = R"(
#include <stdio.h>
#include <stdlib.h>
#include "rvm_a.h"
#include "rvm_b.h"

static int show(const mattec_model* model, size_t bytes, int width, int height) {
  void* arena = aligned_alloc(64, (bytes + 63) / 64 * 64);
  unsigned char* rgb = malloc((size_t)width * height * 3);
  unsigned char* alpha = malloc((size_t)width * height);
  mattec_session* session = NULL;
  mattec_options options = {0};
  mattec_image frame = {0};
  mattec_outputs outputs = {0};
  int i;
  mattec_status status;
  if (!arena || !rgb || !alpha) return 1;
  options.threads = 2;
  status = mattec_init(model, arena, bytes, &options, &session);
  if (status != MATTEC_OK) {
    printf("status %d\n", (int)status);
    return 0;
  }
  for (i = 0; i < width * height * 3; ++i) rgb[i] = (unsigned char)(i * 7);
  frame.pixels = rgb;
  frame.width = outputs.alpha.width = width;
  frame.height = outputs.alpha.height = height;
  frame.stride = width * 3;
  frame.format = MATTEC_RGB;
  outputs.alpha.pixels = alpha;
  outputs.alpha.stride = width;
  outputs.alpha.format = MATTEC_GRAY;
  status = mattec_step(session, &frame, NULL, &outputs);
  if (status != MATTEC_OK) return 1;
  for (i = 0; i < width * height; ++i) printf("%02x", alpha[i]);
  printf("\n");
  mattec_close(session);
  free(arena);
  free(rgb);
  free(alpha);
  return 0;
}

int main(void) {
  if (RVM_A_ABI_VERSION != MATTEC_ABI_VERSION || RVM_B_ARENA_ALIGNMENT != 64) return 1;
  if (show(&rvm_a_model, RVM_A_ARENA_BYTES(2), RVM_A_WIDTH, RVM_A_HEIGHT)) return 1;
  return show(&rvm_b_model, RVM_B_ARENA_BYTES(2), RVM_B_WIDTH, RVM_B_HEIGHT);
}
)";

// What the interpreter makes of the frame of that program.
std::string wanted_alpha(ir::Size size) {
  std::vector<uint8_t> rgb(static_cast<size_t>(size.height) * size.width * 3);
  for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>(i * 7);
  ir::Interpreter oracle(example_graph(), size);
  oracle.step(rgb.data());
  std::string text;
  for (const uint8_t value : oracle.output("pha")) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", value);
    text += digits;
  }
  return text;
}

TEST(Library, TwoLinkIntoOneProgram) {
  constexpr ir::Size small{16, 24}, large{32, 48};
  const ScratchFolder folder;
  targets::write_library(compile_example("x86-64-avx2", "rvm_a", small), "rvm_a", folder.path());
  targets::write_library(compile_example("x86-64-avx512vnni", "rvm_b", large), "rvm_b",
                         folder.path());
  write_text(folder / "main.c", two_libraries);
  const std::string a = folder / "x86-64-avx2", b = folder / "x86-64-avx512vnni";
  const Outcome built =
      run(std::string(MATTEC_CC) + " -std=c11 -Wall -Wextra -Werror -pedantic -I" + a + " -I" + b +
          " " + (folder / "main.c") + " " + a + "/librvm_a.a " + b + "/librvm_b.a -lpthread -o " +
          (folder / "main"));
  ASSERT_EQ(built.status, 0) << built.output;
  const Outcome played = run(folder / "main");
  EXPECT_EQ(played.status, 0) << played.output;
  const auto line = [](const char* target, ir::Size size) {
    return targets::host_runs(targets::find_target(target)) ? wanted_alpha(size)
                                                            : std::string("status 5");
  };
  EXPECT_EQ(played.output,
            line("x86-64-avx2", small) + "\n" + line("x86-64-avx512vnni", large) + "\n");
}

// One for all cases that only look at it or write it.
const targets::CompiledLibrary& example_library() {
  static const targets::CompiledLibrary library = compile_example("x86-64-avx2", "rvm", {16, 16});
  return library;
}

TEST(Library, HeaderCompilesInCAndCxx) {
  const ScratchFolder folder;
  targets::write_library(example_library(), "rvm", folder.path());
  const std::string text =
      "#include \"rvm.h\"\n#include \"rvm.h\"\n"
      "int main(void) { return rvm_model.functions == 0 || RVM_WIDTH != 16; }\n";
  const std::string flags = " -Wall -Wextra -Werror -pedantic -I" + (folder / "x86-64-avx2") + " ";
  const std::string library = " " + (folder / "x86-64-avx2/librvm.a") + " -lpthread -o " +
                              (folder / "program") + " && " + (folder / "program");
  write_text(folder / "user.c", text);
  write_text(folder / "user.cpp", text);
  for (const char* standard : {"-std=c99", "-std=c11"}) {
    const Outcome outcome =
        run(std::string(MATTEC_CC " ").append(standard).append(flags).append(folder / "user.c") +
            library);
    EXPECT_EQ(outcome.status, 0) << standard << "\n" << outcome.output;
  }
  for (const char* standard : {"-std=c++11", "-std=c++17"}) {
    const Outcome outcome =
        run(std::string(MATTEC_CXX " ").append(standard).append(flags).append(folder / "user.cpp") +
            library);
    EXPECT_EQ(outcome.status, 0) << standard << "\n" << outcome.output;
  }
}

TEST(Library, ManifestNamesEveryStep) {
  const targets::CompiledLibrary& compiled = example_library();
  const nlohmann::json manifest = nlohmann::json::parse(compiled.manifest);
  EXPECT_EQ(manifest["target"], "x86-64-avx2");
  EXPECT_EQ(manifest["size"], "16x16");
  EXPECT_EQ(manifest["steps"].size(), compiled.plan.steps.size());
  EXPECT_NE(compiled.header.find("#define RVM_ARENA_BYTES(threads) "), std::string::npos);
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string compile_error(const std::function<void(targets::CompileOptions&)>& change) {
  targets::CompileOptions options;
  options.size = {16, 16};
  change(options);
  return error_of([&] { targets::compile(example_graph(), options); });
}

TEST(CompileErrors, UnknownTarget) {
  std::string known = "host";
  for (const targets::Target& target : targets::known_targets())
    known.append(", ").append(target.name);
  EXPECT_EQ(compile_error([](auto& options) { options.target = "x86-64-avx3"; }),
            "unknown target \"x86-64-avx3\"; the nearest is \"x86-64-avx2\"; known are " + known);
}

TEST(CompileErrors, Size) {
  for (const ir::Size size : {ir::Size{0, 0}, ir::Size{1, 1}, ir::Size{15, 16}, ir::Size{16, 15},
                              ir::Size{-16, 16}, ir::Size{16, 8193}, ir::Size{1 << 30, 1 << 30}}) {
    const std::string error = compile_error([&](auto& options) { options.size = size; });
    EXPECT_NE(error.find("width and height must be 16 to 8192"), std::string::npos) << error;
  }
}

TEST(CompileErrors, Name) {
  for (const char* name : {"", "9a", "a-b", "a b", "../a", "n\xc3\xa4me"}) {
    const std::string error = compile_error([&](auto& options) { options.name = name; });
    EXPECT_NE(error.find("is no C identifier; use letters, digits and _"), std::string::npos)
        << error;
  }
}

// What stands in the name's way is in every system's include and library folders.
TEST(CompileErrors, NameThatTheSystemHas) {
  const std::pair<const char*, const char*> names[] = {
      {"mattec", "belongs to mattec.h"},
      {"MATTEC_error", "belongs to mattec.h"},  // MATTEC_ERROR_ABI_VERSION is a status
      {"stdint", "would hide the header <stdint.h>"},
      {"String", "would hide the header <string.h>"},  // where capitals do not count
      {"pthread", "would hide the header <pthread.h>"},
      {"m", "linked instead of the system's libm"},
      {"int8", "redefine a macro of <stdint.h>"}};
  for (const auto& [name, problem] : names) {
    const std::string error = compile_error([&, n = name](auto& options) { options.name = n; });
    EXPECT_NE(error.find(problem), std::string::npos) << name << ": " << error;
  }
  EXPECT_NE(compile_error([](auto& o) { o.name = std::string(251, 'a'); }).find("is too long"),
            std::string::npos);
  // Keywords are no problem: the header holds the name with something behind it.
  for (const char* name : {"for", "register", "mat", "rvm2", "my_matte"})
    EXPECT_NO_THROW(targets::require_library_name(name)) << name;
}

// In a member that is for mattec alone, and in the manifest.
TEST(Library, CarriesAChecksumThatNoProgramSees) {
  const targets::CompiledLibrary& compiled = example_library();
  const std::string_view archive(reinterpret_cast<const char*>(compiled.archive.data()),
                                 compiled.archive.size());
  const std::optional<Checksum> of_archive = find_checksum(archive, targets::archive_marker);
  ASSERT_TRUE(of_archive);
  EXPECT_TRUE(of_archive->is_right());
  const nlohmann::json manifest = nlohmann::json::parse(compiled.manifest);
  EXPECT_EQ(manifest["archive_checksum"], of_archive->written);
  const std::optional<Checksum> own = find_checksum(compiled.manifest, targets::manifest_marker);
  ASSERT_TRUE(own);
  EXPECT_TRUE(own->is_right());
  EXPECT_EQ(manifest["checksum"], own->written);

  const ScratchFolder folder;
  targets::write_library(compiled, "rvm", folder.path());
  const std::string at = folder / "x86-64-avx2", program = folder / "program";
  write_text(folder / "user.c",
             "#include \"rvm.h\"\nint main(void) { return rvm_model.functions == 0; }\n");
  const Outcome built =
      run(std::string(MATTEC_CC " -I") + at + " " + (folder / "user.c") +
          " -Wl,--fatal-warnings -Wl,--whole-archive " + at +
          "/librvm.a -Wl,--no-whole-archive -lpthread -o " + program + " && " + program);
  EXPECT_EQ(built.status, 0) << built.output;
  std::ifstream file(program, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(bytes.find(targets::archive_marker), std::string::npos);
}

TEST(CompileErrors, Graph) {
  targets::CompileOptions options;
  options.size = {16, 16};
  ir::Graph graph = example_graph();
  graph.outputs.pop_back();
  EXPECT_NE(error_of([&] { targets::compile(graph, options); }).find("no output \"pha\""),
            std::string::npos);
  graph = example_graph();
  graph.stage = ir::Stage::fused;
  EXPECT_NE(error_of([&] { targets::compile(graph, options); }).find("is not quantized"),
            std::string::npos);
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) found.push_back(entry.path().filename().string());
  return found;
}

TEST(Library, IsNotWrittenToAFolderThatCannotBe) {
  const ScratchFolder folder;
  write_text(folder / "file", "text");
  const targets::CompiledLibrary& compiled = example_library();
  const std::string error =
      error_of([&] { targets::write_library(compiled, "rvm", folder / "file"); });
  EXPECT_NE(error.find("file/x86-64-avx2: cannot make this folder: "), std::string::npos) << error;
  EXPECT_EQ(files_in(folder.path()), std::vector<std::string>{"file"});
}

// A limit on the size of files stands for a full disk: the system refuses to write on.
TEST(Library, LeavesNothingOnAFullDisk) {
  const ScratchFolder folder;
  const targets::CompiledLibrary& compiled = example_library();
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit usual{};
  ::getrlimit(RLIMIT_FSIZE, &usual);
  const rlimit small = {10000, usual.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string error =
      error_of([&] { targets::write_library(compiled, "rvm", folder.path()); });
  ::setrlimit(RLIMIT_FSIZE, &usual);
  std::signal(SIGXFSZ, before);
  EXPECT_NE(error.find("librvm.a: cannot be written: File too large; free some space"),
            std::string::npos)
      << error;
  EXPECT_EQ(files_in(folder.path()), std::vector<std::string>{});
}

// Kernels are compiled in memory: no folder for temporary files is needed.
TEST(Compile, NeedsNoTemporaryFolder) {
  const char* before = std::getenv("TMPDIR");
  const std::string usual = before ? before : "";
  ::setenv("TMPDIR", "/nowhere", 1);
  EXPECT_NO_THROW(compile_example("x86-64-avx2", "rvm", {16, 16}));
  if (before)
    ::setenv("TMPDIR", usual.c_str(), 1);
  else
    ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace mattec::test
