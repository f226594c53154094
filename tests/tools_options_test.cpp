// Values of options that can never be right, in this process: the command takes half a second to
// start.
#include <gtest/gtest.h>

#include <algorithm>

#include "tools/verbs.h"

namespace mattec::tools {
namespace {

// What is wrong with the words behind "mattec"; the work is not begun.
std::string error_of(std::vector<std::string> words) {
  CLI::App mattec;
  mattec.require_subcommand(1);
  add_demo(mattec);
  add_quantize(mattec);
  add_compile(mattec);
  add_run(mattec);
  add_eval(mattec);
  add_bench(mattec);
  for (CLI::App* verb : mattec.get_subcommands([](CLI::App*) { return true; }))
    verb->callback([] {});
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  try {
    mattec.parse(words);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "no error";
}

struct Case {
  std::vector<std::string> words;  // without the option
  std::string option;
  std::vector<std::string> good, bad;
};

TEST(Options, TakeGoodValuesAndRefuseBadOnes) {
  const std::vector<std::string> run = {"run", "a", "b", "-o", "c"}, eval = {"eval", "a", "b"},
                                 quantize = {"quantize", "a",  "--calibration",
                                             "b",        "-o", "c.mattec"},
                                 compose = {"eval", "a", "b", "--backgrounds", "c"};
  const Case cases[] = {
      {run, "--threads", {"1", "64"}, {"0", "65", "010", "0x8", "1.5", "-1", "nan", "1e1", ""}},
      {{"bench", "a"}, "--iterations", {"1", "100000"}, {"0", "100001", "nan", "1e3", ""}},
      {eval,
       "--size",
       {"1x1", "16384x16384"},
       {"512", "0x8", "8x8x8", "16385x8", "+8x8", "8x 8", "08x8", "8x", "nanx8", ""}},
      {eval, "--downsample-ratio", {"0.01", "1"}, {"0", "1.01", "nan", "-nan", "inf", "x", ""}},
      {quantize, "--budget-minutes", {"0.001", "10", "1e5"}, {"0", "-1", "nan", "inf", ""}},
      {quantize,
       "--seed",
       {"0", "18446744073709551615"},
       {"-1", "18446744073709551616", "nan", "1.0", ""}},
      {quantize, "--method", {"gptq", "ptq4vm"}, {"gptp", "GPTQ", ""}},
      {quantize, "--bits", {"w4a8"}, {"w4a5", ""}},
      {quantize, "--gac", {"on", "off"}, {"yes", ""}},
      {quantize, "--policy", {"w4a4-96", "x.json"}, {""}},
      {compose, "--clips", {"1"}, {"0", "nan", "1.5", ""}},
      {compose, "--frames", {"1"}, {"0", "nan", ""}},
      {compose, "--motion", {"on"}, {"maybe", ""}},
      {eval, "--backgrounds", {"c"}, {""}},
      {{"demo"}, "--output", {"c"}, {""}},
      {{"compile", "a", "--target", "host", "--size", "8x8"}, "--output", {"c"}, {""}},
  };
  for (const Case& each : cases) {
    std::vector<std::string> words = each.words;
    words.insert(words.end(), {each.option, ""});
    for (const std::string& value : each.good) {
      words.back() = value;
      EXPECT_EQ(error_of(words), "no error") << each.option << " " << value;
    }
    for (const std::string& value : each.bad) {
      words.back() = value;
      EXPECT_NE(error_of(words).find(each.option), std::string::npos)
          << each.option << " '" << value << "': " << error_of(words);
    }
  }
}

TEST(Options, NameTheNearestWord) {
  EXPECT_EQ(error_of({"quantize", "a", "--calibration", "b", "-o", "c.mattec", "--method", "gptp"}),
            "--method: write one of minmax, mse, gptq, brecq, qdrop, ptq4vm, not gptp; the nearest "
            "is \"gptq\"");
}

}  // namespace
}  // namespace mattec::tools
