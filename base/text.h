// Words for people.
#pragma once

#include <string>
#include <vector>

namespace mattec {

// Text from files and command lines, safe to print: control characters (a terminal obeys them) and
// bytes that are no UTF-8 become \xNN.
std::string printable(const std::string& text);

// The candidate that differs from `word` by the fewest inserted, left out, exchanged and swapped
// letters, capitals aside; empty where none is near (a third of its letters).
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

// For errors about `word`: "; the nearest is \"run\"", or nothing where nearest() finds none.
std::string hint_at_nearest(const std::string& word, const std::vector<std::string>& candidates);

std::string lower_case(std::string text);  // of ASCII letters

}  // namespace mattec
