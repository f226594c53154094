// What tests of the verifier share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "ir/verify.h"

namespace mattec::ir {

const float not_a_number = std::nanf("");

inline void expect_found(const Graph& graph, const char* expected) {
  const std::vector<std::string> found = violations(graph);
  bool is_there = false;
  for (const std::string& violation : found)
    is_there = is_there || violation.find(expected) != std::string::npos;
  EXPECT_TRUE(is_there) << "not reported: " << expected
                        << (found.empty() ? "" : "; reported: " + found[0]);
}

}  // namespace mattec::ir
