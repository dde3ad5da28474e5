# The house rules that a compiler does not check. Each check is a test, and so is that it finds what
# it is for (seeded faults in a folder of its own). LABELS lint: ctest -L lint.
set(esclusa_lint ${CMAKE_CURRENT_LIST_DIR}/lint.py)

function(esclusa_lint_test check)
  add_test(NAME lint_${check}
           COMMAND Python3::Interpreter -B ${esclusa_lint} ${check} --root ${PROJECT_SOURCE_DIR}
                   --compiler ${CMAKE_C_COMPILER} ${ARGN})
  add_test(NAME lint_${check}_finds
           COMMAND Python3::Interpreter -B ${esclusa_lint} ${check} --self-test
                   --compiler ${CMAKE_C_COMPILER})
  set_tests_properties(lint_${check} lint_${check}_finds PROPERTIES TIMEOUT 60 LABELS lint)
endfunction()

esclusa_lint_test(layers)
esclusa_lint_test(headers)
esclusa_lint_test(docs)
esclusa_lint_test(options --program $<TARGET_FILE:esclusa>)
esclusa_lint_test(sizes)
esclusa_lint_test(tree)
esclusa_lint_test(reasons)

add_test(NAME certs_are_what_they_claim
         COMMAND ${CMAKE_CURRENT_LIST_DIR}/certs_check.sh ${PROJECT_SOURCE_DIR}/certs/make-certs.sh)
set_tests_properties(certs_are_what_they_claim PROPERTIES TIMEOUT 60 LABELS lint)
