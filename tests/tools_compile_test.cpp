// mattec compile from outside: which files it leaves, whatever goes wrong. The network is a tiny
// random one.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <thread>

#include "ir/model_file.h"
#include "tests/ir_graphs.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Files = std::map<std::string, std::string>;  // path below a folder: content

constexpr char avx2[] = "x86-64-avx2", avx512[] = "x86-64-avx512vnni";

// Another seed, other weights.
void write_model(const std::string& path, uint32_t seed) {
  test::GraphMaker make(seed);
  make.only_8_bits = true;
  test::GraphMaker::ConvolutionShape shape;
  shape.kernel = 3;
  shape.padding = 1;
  make.outputs(make.conv({make.graph.frame}, shape));
  ir::write_model(make.graph, path);
}

std::vector<std::string> compile(const std::string& model, const std::string& targets,
                                 const std::string& output, const std::string& name = "rvm") {
  return {"compile", model, "--target", targets, "--size", "32x16", "--name", name, "-o", output};
}

Files files_in(const std::string& folder) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && !entry.is_symlink())
      files[entry.path().lexically_relative(folder).string()] = read_bytes(entry.path().string());
  return files;
}

class Compile : public testing::Test {
 protected:
  Compile() {
    write_model(model, 1);
    write_model(other, 2);
  }
  CommandResult run(const std::vector<std::string>& words) const { return command(scratch, words); }
  void expect_success(const std::vector<std::string>& words) const {
    const CommandResult result = run(words);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  const Scratch scratch;
  const std::string model = scratch / "one.mattec", other = scratch / "two.mattec",
                    out = scratch / "out", both = std::string(avx2) + "," + avx512;
};

TEST_F(Compile, DoesNotDependOnHalidesVariables) {
  expect_success(compile(model, avx2, scratch / "plain"));
  const Files expected = files_in(scratch / "plain");
  for (const auto& [name, value] : {std::pair{"HL_LLVM_ARGS", "-no-such-option"},
                                    {"HL_COMPILER_STACK_SIZE", "4096"},
                                    {"HL_DEBUG_CODEGEN", "1"},
                                    {"HL_TARGET", "arm-64-linux"}}) {
    ::setenv(name, value, 1);
    const CommandResult result = run(compile(model, avx2, scratch / name));
    ::unsetenv(name);
    ASSERT_EQ(result.exit_code, 0) << name << ": " << result.err;
    EXPECT_EQ(result.err, "") << name;
    EXPECT_TRUE(files_in(scratch / name) == expected) << name;
  }
}

TEST_F(Compile, LeavesWhatElseIsInItsFolders) {
  expect_success(compile(other, both, out, "other"));
  const std::string folder = out + "/" + avx2;
  fs::create_directories(folder + "/build/deep");
  write_bytes(folder + "/build/deep/mine.o", "mine");
  write_bytes(folder + "/notes.txt", "mine");
  fs::create_symlink("notes.txt", folder + "/link");
  fs::permissions(folder, fs::perms(0750));
  const Files before = files_in(out);
  expect_success(compile(model, avx2, out));
  Files after = files_in(out);
  for (const auto& [path, bytes] : before) EXPECT_TRUE(after[path] == bytes) << path;
  EXPECT_EQ(after.size(), before.size() + 3);  // mattec.h was there
  EXPECT_EQ(fs::read_symlink(folder + "/link"), "notes.txt");
  EXPECT_EQ(fs::status(folder).permissions(), fs::perms(0750));
  // Again with another network: its own files are replaced, the others stay.
  expect_success(compile(other, avx2, out));
  EXPECT_TRUE(files_in(out)[std::string(avx2) + "/librvm.a"] !=
              after[std::string(avx2) + "/librvm.a"]);
  EXPECT_EQ(files_in(out).size(), after.size());
  EXPECT_EQ(scratch.entries("out"), 2U);  // nothing hidden
}

TEST_F(Compile, PutsAllTargetsInPlaceOrNone) {
  expect_success(compile(model, avx2, out));
  const Files before = files_in(out);
  {
    const FileSizeLimit limit(2000);  // a full disk, at the first archive
    expect_failure(run(compile(other, both, out)), 1, "librvm.a: cannot be written");
  }
  EXPECT_TRUE(files_in(out) == before);
  {
    const FileSizeLimit limit(2000);
    expect_failure(run(compile(other, both, scratch / "new")), 1, "librvm.a: cannot be written");
  }
  EXPECT_FALSE(fs::exists(scratch / "new"));
  // The last target's place is taken: the first one stays as it was.
  fs::create_directories(out + "/" + avx512 + "/rvm.json/mine");
  expect_failure(run(compile(other, both, out)), 1, "rvm.json: is no file");
  fs::remove_all(out + "/" + avx512);
  EXPECT_TRUE(files_in(out) == before);
  EXPECT_EQ(scratch.entries("out"), 1U);
  EXPECT_EQ(scratch.entries(), 5U);  // two models, out, the standard streams' files
}

// Looked at before the model is, which here is missing.
TEST_F(Compile, NamesPlacesThatCannotBeBeforeTheWork) {
  const std::string none = scratch / "none.mattec";
  write_bytes(scratch / "file", "");
  expect_failure(run(compile(none, both, scratch / "file")), 1, "file: is no folder");
  fs::create_directories(out + "/" + avx2 + "/librvm.a");
  write_bytes(out + "/" + avx512, "mine");
  expect_failure(run(compile(none, avx512, out)), 1, "out/x86-64-avx512vnni: is no folder");
  expect_failure(run(compile(none, avx2, out)), 1, "librvm.a: is no file");
  fs::remove(out + "/" + avx512);
  fs::create_symlink("/proc/nothing", out + "/" + avx512);  // where even root may not write
  expect_failure(run(compile(none, avx512, out)), 1, "cannot be written");
  expect_failure(run(compile(none, avx2, scratch / "no/such/out")), 1, "does not exist");
}

TEST_F(Compile, RefusesWhatCanNeverBeBeforeTheModelIsRead) {
  const std::string none = scratch / "none.mattec";
  for (const auto& [name, problem] :
       {std::pair<std::string, const char*>{"mattec", "belongs to mattec.h"},
        {"", "no C identifier"},
        {std::string(300, 'a'), "is too long"}})
    expect_failure(run(compile(none, avx2, out, name)), 2, problem);
  expect_failure(run(compile(none, "x86-64-avx3", out)), 2, "the nearest is \"x86-64-avx2\"");
  expect_failure(run(compile(none, "host,host", out)), 2, "--target names host twice");
  expect_failure(run({"compile", none, "--target", avx2, "--size", "8x8", "-o", out}), 2,
                 "size 8x8 cannot be compiled");
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--warp"}, {"--downsample-ratio", "0.5"}}) {
    std::vector<std::string> words = compile(none, avx2, out);
    words.insert(words.end(), more.begin(), more.end());
    expect_failure(run(words), 2, more[0]);
  }
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(Compile, DoesNotOverwriteTheModelThatItReads) {
  fs::create_directories(out + "/" + avx2);
  const std::string bytes = read_bytes(model), file = out + "/" + avx2 + "/rvm.json";
  fs::create_hard_link(model, file);
  expect_failure(run(compile(model, avx2, out)), 1, "rvm.json: is read by the same command");
  fs::remove(file);
  fs::create_symlink(model, file);
  expect_failure(run(compile(file, avx2, out)), 1, "rvm.json: is read by the same command");
  EXPECT_TRUE(read_bytes(model) == bytes);
}

// Killed anywhere, each folder is as it was or holds the whole new library; nothing of the user's
// is lost, and the next run leaves nothing hidden.
TEST_F(Compile, KilledLeavesWholeLibraries) {
  expect_success(compile(model, both, out));
  const Files before = files_in(out);
  expect_success(compile(other, both, scratch / "expected"));
  const Files after = files_in(scratch / "expected");
  for (const char* target : {avx2, avx512}) write_bytes(out + "/" + target + "/mine", "mine");
  const auto start = std::chrono::steady_clock::now();
  expect_success(compile(model, both, out));
  const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
  for (const double share : {0.5, 0.9, 0.95, 0.98}) {
    const Command running(scratch, compile(other, both, out));
    std::this_thread::sleep_for(share * whole);
    running.send(SIGKILL);
    running.wait();
    for (const std::string target : {avx2, avx512}) {
      EXPECT_EQ(read_bytes(out + "/" + target + "/mine"), "mine");
      const auto bytes = [&](const char* file) { return read_bytes(out + "/" + target + file); };
      const Files& there = bytes("/librvm.a") == before.at(target + "/librvm.a") ? before : after;
      for (const char* file : {"/librvm.a", "/rvm.h", "/rvm.json"})
        EXPECT_TRUE(bytes(file) == there.at(target + file)) << target << file;
    }
  }
  expect_success(compile(other, both, out));
  EXPECT_EQ(scratch.entries("out"), 2U);
  for (const auto& [path, bytes] : after) EXPECT_TRUE(files_in(out)[path] == bytes) << path;
}

TEST_F(Compile, TwoAtOnceLoseNothing) {
  for (int round = 0; round < 3; ++round) {
    fs::remove_all(out);
    const Scratch second;
    const Command one(scratch, compile(model, both, out, "one"));
    const Command two(second, compile(other, both, out, "two"));
    const CommandResult results[] = {one.wait(), two.wait()};
    for (const CommandResult& result : results) ASSERT_EQ(result.exit_code, 0) << result.err;
    for (const std::string target : {avx2, avx512})
      for (const char* file : {"/libone.a", "/one.h", "/libtwo.a", "/two.h", "/mattec.h"})
        EXPECT_TRUE(fs::exists(out + "/" + target + file)) << target << file;
    EXPECT_EQ(scratch.entries("out"), 2U);
  }
}

}  // namespace
}  // namespace mattec::tools
