// Pieces of pages that the reports share. Everything that takes plain text escapes it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mattec::tools {

std::string escaped(const std::string& text);
std::string base64(const std::vector<uint8_t>& bytes);

// Tables: cells make rows, rows a table.
std::string cell(const std::string& text);
std::string heading(const std::string& text);
// A cell with a bar behind the text, `fraction` (0 .. 1) of it wide.
std::string bar(const std::string& text, double fraction);
std::string row(const std::vector<std::string>& cells);
std::string table(const std::string& rows);

// A line through (step, value) as inline SVG, its ends labelled. Points that are not finite are
// left out; empty where none is left.
std::string curve(const std::string& title, const std::vector<std::pair<int, double>>& points);

}  // namespace mattec::tools
