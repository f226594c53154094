# Writes to LIST a ctest test for each suite of the GoogleTest program PROGRAM (called NAME), whose
# results go to RESULTS/<NAME>.<suite>.xml. Run after the program is linked.
execute_process(COMMAND ${PROGRAM} --gtest_list_tests OUTPUT_VARIABLE text RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${PROGRAM} cannot list its tests: ${failed}")
endif()
string(REGEX MATCHALL "[^\n]+" lines "${text}")
set(tests "")
foreach(line IN LISTS lines)
  # "Suite." or "Prefix/Suite.  # TypeParam = ..."; cases are indented.
  if(NOT line MATCHES "^([A-Za-z0-9_/]+)\\.( .*)?$")
    continue()
  endif()
  set(suite ${CMAKE_MATCH_1})
  string(REPLACE "/" "_" file ${NAME}.${suite})
  string(APPEND tests
    "add_test([[${NAME}.${suite}]] [[${PROGRAM}]] [[--gtest_filter=${suite}.*]]\n"
    "         [[--gtest_output=xml:${RESULTS}/${file}.xml]])\n"
    "set_tests_properties([[${NAME}.${suite}]] PROPERTIES LABELS [[${LABELS}]] TIMEOUT 900)\n")
endforeach()
file(WRITE ${LIST} "${tests}")
