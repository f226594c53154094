// What is in a compiled library, read by binutils and by inspect.h: instructions, symbols, bytes.
#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "targets/inspect.h"
#include "tests/compiled_archive.h"
#include "tests/target_names.h"

namespace mattec::test {
namespace {

// GNU as knows which processor has which instruction; LLVM's assembler takes them all.
const std::string avx2_processor =
    "generic64+sse4.2+popcnt+movbe+cx16+avx2+fma+f16c+bmi+bmi2+lzcnt";
const std::string icelake_processor =
    avx2_processor +
    "+adx+rdseed+aes+pclmul+avx512f+avx512cd+avx512bw+avx512dq+avx512vl+avx512_vnni"
    "+avx512ifma+avx512vbmi+avx512_bitalg+avx512_vbmi2+avx512_vpopcntdq+gfni+vaes+vpclmulqdq";

struct Expected {
  std::string target, processor;
  std::string dot_product, short_product;  // mnemonics; the second of 4-bit operands, if any
  // That makes some convolutions' sums, and its mnemonic; empty: none.
  std::string microkernel, tile_product;
  std::string objdump = MATTEC_OBJDUMP, assembler = MATTEC_AS, architecture = "x86_64";
};
const Expected avx2 = {"x86-64-avx2", avx2_processor, "vpmaddwd", "vpmaddubsw", "", ""};
const Expected avxvnni = {
    "x86-64-avxvnni", avx2_processor + "+avx_vnni", "vpmaddwd", "", "vpdpbusd", "vpdpbusd"};
const Expected vnni = {"x86-64-avx512vnni", icelake_processor, "vpdpbusd", "", "", ""};

Expected on_arm(const std::string& target, const std::string& processor,
                const std::string& dot_product, const std::string& short_product,
                const std::string& microkernel) {
  const std::string tools = "aarch64-linux-gnu-";
  return {target,      processor,         dot_product,  short_product, microkernel,
          microkernel, tools + "objdump", tools + "as", "aarch64"};
}
const Expected expected[] = {avx2,
                             avxvnni,
                             vnni,
                             on_arm("arm-64", "armv8-a", "smlal", "smlal", "smlal"),
                             on_arm("arm-64-dotprod", "armv8.2-a+dotprod", "sdot", "", ""),
                             on_arm("arm-64-i8mm", "armv8.2-a+dotprod+i8mm", "sdot", "", "smmla"),
                             on_arm("arm-64-baremetal", "armv8-a", "smlal", "smlal", "smlal")};

struct Disassembly {
  std::vector<std::string> instructions;                      // as GNU as reads them
  std::map<std::string, std::map<std::string, int>> counted;  // function, mnemonic
};

// Jumps (their targets are no labels here), calls and padding are left out: every processor has
// them.
bool is_everywhere(const std::string& mnemonic) {
  static const std::set<std::string> names = {"call", "nop",  "nopw", "nopl", "data16",
                                              "cs",   "b",    "bl",   "cbz",  "cbnz",
                                              "tbz",  "tbnz", "adr",  "adrp", ".word"};
  return mnemonic[0] == 'j' || mnemonic.compare(0, 2, "b.") == 0 || names.count(mnemonic) > 0;
}

Disassembly disassemble(const std::string& library, const Expected& target) {
  const Outcome outcome = run(target.objdump + " -d --no-show-raw-insn " + library);
  EXPECT_EQ(outcome.status, 0) << outcome.output.substr(0, 1000);
  Disassembly found;
  std::istringstream lines(outcome.output);
  std::string function;
  for (std::string line; std::getline(lines, line);) {
    const size_t open = line.find(" <"), close = line.rfind(">:");
    if (close != std::string::npos && close + 2 == line.size() && open < close)
      function = line.substr(open + 2, close - open - 2);
    const size_t tab = line.find(":\t");
    if (tab == std::string::npos) continue;
    std::string text = line.substr(tab + 2);
    if (target.architecture == "x86_64") text = text.substr(0, text.find_first_of("#<"));
    text = text.substr(0, text.find("//"));
    const size_t encoding = text.rfind("{vex} ", 0) == 0 ? 6 : 0;
    const std::string mnemonic =
        text.substr(encoding, text.find_first_of(" \t", encoding) - encoding);
    if (mnemonic.empty()) continue;
    ++found.counted[function][mnemonic];
    if (!is_everywhere(mnemonic)) found.instructions.push_back(text);
  }
  return found;
}

// What the assembler for this processor says to the library's instructions: empty if it knows all.
std::string offences(const Disassembly& code, const std::string& processor,
                     const std::string& assembler = MATTEC_AS) {
  const ScratchFolder folder;
  std::string text;
  for (const std::string& instruction : code.instructions) text += instruction + "\n";
  write_text(folder / "code.s", text);
  const Outcome outcome = run(assembler + " -march=" + processor + " " + (folder / "code.s") +
                              " -o /dev/null | head -c 2000");
  return outcome.output;
}

class Archive : public testing::TestWithParam<Expected> {
 protected:
  // One library per target for all of these tests.
  static const std::string& library(const std::string& target) {
    static const ScratchFolder folder;
    static std::map<std::string, std::string> made;
    std::string& path = made[target];
    if (path.empty()) {
      path = folder / ("lib" + target + ".a");
      const targets::CompiledLibrary compiled = compile_example(target, "seen");
      write_text(path, {compiled.archive.begin(), compiled.archive.end()});
    }
    return path;
  }
};

TEST_P(Archive, HasNoInstructionBeyondItsProcessor) {
  const Disassembly code = disassemble(library(GetParam().target), GetParam());
  ASSERT_GT(code.instructions.size(), 5000U);
  EXPECT_EQ(offences(code, GetParam().processor, GetParam().assembler), "");
}

TEST(ArchiveCheck, KnowsEveryTarget) {
  std::vector<std::string> names;
  for (const Expected& target : expected) names.push_back(target.target);
  std::vector<std::string> known;
  for (const targets::Target& target : targets::known_targets()) known.push_back(target.name);
  EXPECT_EQ(names, known);
}

// The check above can fail: AVX-512's library is not AVX2's.
TEST(ArchiveCheck, SeesForeignInstructions) {
  Disassembly code;
  code.instructions = {"vpdpbusd %zmm1,%zmm2,%zmm3"};
  EXPECT_EQ(offences(code, icelake_processor), "");
  EXPECT_NE(offences(code, avx2_processor), "");
  for (const char* beyond : {"vdpbf16ps %zmm1,%zmm2,%zmm3", "vmovw %xmm1,%eax", "extrq %xmm1,%xmm2",
                             "{vex} vpdpbusd %ymm1,%ymm2,%ymm3", "tdpbusd %tmm1,%tmm2,%tmm3"}) {
    code.instructions = {beyond};
    EXPECT_NE(offences(code, icelake_processor), "") << beyond;
  }
  code.instructions = {"sdot v0.4s, v1.16b, v2.4b[1]"};
  const std::string assembler = "aarch64-linux-gnu-as";
  EXPECT_EQ(offences(code, "armv8.2-a+dotprod", assembler), "");
  EXPECT_NE(offences(code, "armv8-a", assembler), "");
}

// Whether a kernel's sums are made by the target's micro-kernel: its name says so.
bool calls_microkernel(const std::string& kernel, const Expected& target) {
  return !target.microkernel.empty() &&
         kernel.find("_" + target.microkernel + "_") != std::string::npos;
}

TEST_P(Archive, DenseConvolutionsUseDotProducts) {
  int convolutions = 0, calls = 0;
  Disassembly code = disassemble(library(GetParam().target), GetParam());
  for (const auto& [function, mnemonics] : code.counted) {
    if (function.find("seen_conv") != 0 || mnemonics.size() < 20) continue;  // _argv, _metadata
    ++convolutions;
    if (calls_microkernel(function, GetParam()))
      ++calls;
    else
      EXPECT_TRUE(mnemonics.count(GetParam().dot_product)) << function;
  }
  EXPECT_GE(convolutions, 10);
  EXPECT_EQ(calls > 0, !GetParam().microkernel.empty());
  for (const char* tile : {"add_tiles_1", "add_tiles_2", "add_tiles_3"}) {
    EXPECT_EQ(code.counted[tile][GetParam().tile_product] >= 8, calls > 0) << tile;
  }
}

// A kernel's name says whether it sums products of 4-bit operands in 16 bits ("q" and how many).
TEST_P(Archive, FourBitConvolutionsSumIn16Bits) {
  int narrow = 0, wide = 0;
  for (const auto& [function, mnemonics] :
       disassemble(library(GetParam().target), GetParam()).counted) {
    if (function.find("seen_conv") != 0 || mnemonics.size() < 20) continue;
    const bool is_short = std::regex_search(function, std::regex("q[0-9]"));
    if (is_short && !calls_microkernel(function, GetParam())) {
      EXPECT_TRUE(mnemonics.count(GetParam().short_product)) << function;
    }
    ++(is_short ? narrow : wide);
  }
  EXPECT_EQ(narrow > 0, !GetParam().short_product.empty());
  EXPECT_GT(wide, 0);
}

// Two disassemblers, one count.
TEST_P(Archive, InspectionCountsWhatObjdumpCounts) {
  const std::string& path = library(GetParam().target);
  const targets::LibraryContents contents = targets::inspect_library(path);
  uint64_t counted = 0, wanted = 0;
  for (const targets::FunctionContents& function : contents.functions)
    counted += function.dot_products;
  for (const auto& [function, mnemonics] : disassemble(path, GetParam()).counted)
    for (const auto& [mnemonic, count] : mnemonics)
      if (targets::is_dot_product(mnemonic)) wanted += static_cast<uint64_t>(count);
  EXPECT_EQ(counted, wanted);
  EXPECT_EQ(contents.architecture, GetParam().architecture);
}

TEST_P(Archive, WantsNothingButMemoryAndThreads) {
  const targets::LibraryContents contents = targets::inspect_library(library(GetParam().target));
  for (const std::string& symbol : contents.undefined)
    EXPECT_TRUE(symbol == "memset" || symbol == "memcpy" || symbol == "getauxval" ||
                symbol.rfind("pthread_", 0) == 0)
        << symbol;
  if (!targets::find_target(GetParam().target).is_hosted) {
    EXPECT_EQ(contents.undefined, std::vector<std::string>{});
  }
}

// Two libraries in one program must not meet.
TEST_P(Archive, EverySymbolCarriesThePrefix) {
  const targets::LibraryContents contents = targets::inspect_library(library(GetParam().target));
  EXPECT_GT(contents.exported.size(), 10U);
  for (const std::string& symbol : contents.exported)
    EXPECT_EQ(symbol.rfind("seen_", 0), 0U) << symbol;
}

TEST_P(Archive, HoldsNoWritableData) {
  EXPECT_EQ(targets::inspect_library(library(GetParam().target)).data_bytes, 0U);
}

// inspect's stack bound adds up these forms; a frame that grows otherwise would escape it.
TEST_P(Archive, StackPointerMovesInFormsThatInspectionReads) {
  const bool is_x86 = GetParam().architecture == "x86_64";
  const std::regex known(
      is_x86 ? "(sub|add|and) +\\$0x[0-9a-f]+,%rsp|lea +-0x[0-9a-f]+\\(%rbp\\),%rsp|"
               "mov +%rbp,%rsp"
             : "(sub|add)\tsp, (sp|x29), #0x[0-9a-f]+(, lsl #12)?|mov\tsp, x29|"
               "and\tsp, x9, #0x[0-9a-f]+");
  const auto moves = [is_x86](const std::string& text) {
    if (!is_x86) return text.find("\tsp, ") != std::string::npos;
    return text.size() > 5 && text.compare(text.size() - 5, 5, ",%rsp") == 0;
  };
  int moved = 0;
  for (std::string text : disassemble(library(GetParam().target), GetParam()).instructions) {
    text.erase(text.find_last_not_of(' ') + 1);
    if (!moves(text)) continue;
    if (text.compare(0, 3, "cmp") == 0 || text.compare(0, 4, "test") == 0) continue;
    ++moved;
    EXPECT_TRUE(std::regex_match(text, known)) << text;
  }
  EXPECT_GT(moved, 20);
}

INSTANTIATE_TEST_SUITE_P(Targets, Archive, testing::ValuesIn(expected),
                         [](const testing::TestParamInfo<Expected>& info) {
                           return test_name(info.param.target);
                         });

// Nothing of the process, of earlier compilations or of the threads gets into the files.
TEST(Determinism, SameGraphSameBytes) {
  const targets::CompiledLibrary first = compile_example("x86-64-avx2", "same", {32, 48}, 1);
  compile_example("x86-64-avx512vnni", "between", {16, 16}, 2);
  const targets::CompiledLibrary second = compile_example("x86-64-avx2", "same", {32, 48}, 2);
  EXPECT_TRUE(first.archive == second.archive);
  EXPECT_EQ(first.header, second.header);
  EXPECT_EQ(first.manifest, second.manifest);
}

}  // namespace
}  // namespace mattec::test
